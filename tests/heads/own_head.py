"""A user's own head, as a file."""

from pathlib import Path

OWN = """
import os
import torch
from torch import nn
from retrieval_gap.heads import Head

class Own(Head):
    pools = ("mean",)
    reads_order = False

    def __init__(self, shape):
        super().__init__(shape)
        self.project = nn.Linear(shape.d_states, shape.width)
        {made}

    def features(self, states, mask):
        {then}
        return {features}
"""


def own_head(folder: Path, *, made: str = "pass", then: str = "pass", features: str = "self.project(states)") -> Path:
    """The file of a head.  made, then: a line of Python where it is built, and one before its features are taken."""
    path = folder / "own.py"
    path.write_text(OWN.format(made=made, then=then, features=features))
    return path
