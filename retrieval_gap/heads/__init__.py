"""Heads over a language model's token states: one file per head, all built with the same number of parameters.

A head is named by its module here, or by the path of a user's `.py` file with one subclass of `Head`; `+pool=max` after
the name chooses how its features become one vector (`gru+pool=max`).
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from retrieval_gap.heads.head import Head, HeadShape
from retrieval_gap.heads.pooling import POOLS
from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.tasks.registry import class_names, load_class

__all__ = ["Head", "HeadShape", "HeadSpec", "build", "head_names", "matched_shape"]

NEAR = 0.02  # relative error allowed in the number of parameters
WIDEST = 1 << 16
TOKEN_POOL = "token"


@dataclass(frozen=True)
class HeadSpec:
    """A head as the command line names it.  pool: "" for the head's default."""

    name: str
    pool: str = ""

    @classmethod
    def parse(cls, text: str) -> "HeadSpec":
        """Parse NAME or NAME+pool=POOL.  Raises UsageError for anything else."""
        name, plus, change = text.strip().partition("+")
        key, _, pool = change.partition("=")
        if not name or (plus and (key != "pool" or not pool)):
            raise UsageError(f"head {text!r} is invalid: expected NAME, or NAME+pool=POOL")
        return cls(name, pool)

    @property
    def is_file(self) -> bool:
        return self.name.endswith(".py")

    @property
    def shown(self) -> str:
        name = Path(self.name).stem if self.is_file else self.name
        return f"{name}+pool={self.pool}" if self.pool else name

    def head(self) -> type[Head]:
        """Raises UsageError if there is no such head, or it has no such pool."""
        found = load_class(
            self.name,
            base=Head,
            package=__name__,
            attribute="HEAD",
            error=UsageError,
        )
        if self.pool and self.pool not in found.pools:
            raise unknown(f"pool of {self.name}", self.pool, found.pools or ("none: it pools in its own way",))
        wrong = [pool for pool in found.pools if pool not in (*POOLS, TOKEN_POOL)]
        if wrong and found.pooled is Head.pooled:
            raise unknown(f"pool in pools of {self.name}", wrong[0], POOLS)
        return found

    def pool_for(self, kind: str) -> str:
        """The pool to build with: the one named, or the head's first; for token labels, `token` if the head has it."""
        pools = self.head().pools
        if kind == "tokens":
            return TOKEN_POOL if TOKEN_POOL in pools else (pools[0] if pools else "")
        return self.pool or (pools[0] if pools else "")


def head_names() -> tuple[str, ...]:
    """Names of the heads of this package."""
    return class_names(__name__, "HEAD")


def build(spec: HeadSpec, shape: HeadShape, seed: int = 0) -> Head:
    """Build the head with weights drawn from this seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return spec.head()(shape)


def matched_shape(spec: HeadSpec, *, d_states: int, d_out: int, parameters: int, kind: str = "text") -> HeadShape:
    """Return the shape whose number of parameters is nearest to `parameters`.

    Raises UsageError if that is more than 2 % off, or if the head cannot label tokens as needed.
    """
    head, pool = spec.head(), spec.pool_for(kind)
    if kind == "tokens" and not head.labels_tokens:
        able = ", ".join(name for name in head_names() if HeadSpec(name).head().labels_tokens)
        raise UsageError(f"head {spec.shown} makes one vector of a text: it cannot label tokens ({able} can)")

    def shape(width: int) -> HeadShape:
        return HeadShape(d_states=d_states, d_out=d_out, width=width, pool=pool)

    def count(width: int) -> int:
        with torch.device("meta"):
            return build(spec, shape(width)).parameter_count()

    low, high = 1, 2
    while high < WIDEST and count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    best = min((low, high), key=lambda width: abs(count(width) - parameters))
    if abs(count(best) - parameters) > NEAR * parameters:
        raise UsageError(
            f"head {spec.shown} cannot have {parameters:,} parameters within {NEAR:.0%}: "
            f"the nearest are {count(best):,} at width {best}"
        )
    return shape(best)
