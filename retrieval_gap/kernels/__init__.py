"""The parts of the models that are slow in PyTorch, each beside the plain PyTorch that defines it."""

from retrieval_gap.tasks import compiled

__all__ = ["compiled"]  # imported for its side effect: it sets numba's cache folder before any kernel is defined
