"""Shapes in annotations are checked while tests run; every warning is an error (pyproject.toml)."""

from jaxtyping import install_import_hook

CHECKED = (
    "retrieval_gap.models",
    "retrieval_gap.evaluation",
    "retrieval_gap.decoding",
    "retrieval_gap.device_decoding",
    "retrieval_gap.device_retrieval",
    "retrieval_gap.theory.probe",
    "retrieval_gap.theory.quantise",
)
install_import_hook(CHECKED, "beartype.beartype")
