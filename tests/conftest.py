"""Shapes in annotations are checked while tests run; every warning is an error (pyproject.toml)."""

from jaxtyping import install_import_hook

CHECKED = ("retrieval_gap.models", "retrieval_gap.evaluation", "retrieval_gap.decoding")
install_import_hook(CHECKED, "beartype.beartype")
