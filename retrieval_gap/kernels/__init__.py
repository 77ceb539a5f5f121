"""The parts of the models that PyTorch is slow at, each beside the plain PyTorch that defines it."""

from retrieval_gap.tasks import compiled

__all__ = ["compiled"]  # imported for what it does: it names the folder of compiled code before any is defined
