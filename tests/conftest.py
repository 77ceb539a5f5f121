"""Shapes in annotations are checked while tests run; every warning is an error (pyproject.toml).

Triton reads TRITON_INTERPRET when it and its kernels are imported, so it is set here, before any test is imported.
"""

import os

import torch
from jaxtyping import install_import_hook

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

CHECKED = (
    "retrieval_gap.models",
    "retrieval_gap.decoding.evaluation",
    "retrieval_gap.decoding.decode",
    "retrieval_gap.decoding.on_device",
    "retrieval_gap.decoding.device_retrieval",
    "retrieval_gap.theory.probe",
    "retrieval_gap.theory.quantise",
)
install_import_hook(CHECKED, "beartype.beartype")
