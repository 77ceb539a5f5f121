"""What an architecture is, as its own file says it, read without running the file: a figure is drawn without torch.

An architecture's file may hold, with literal values,

    ABOUT = About(name="Gated DeltaNet", state="fixed", slot=6)

A file without one is called by its stem, takes a colour that is free, and its state is what its runs' rows measured.
"""

import ast
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

StateKind = Literal["fixed", "grows", ""]
MODELS = Path(__file__).parent / "models"
LAST = 1 << 30  # the slot of who has none


@dataclass(frozen=True, kw_only=True)
class About:
    """An architecture in tables and figures.

    state: "fixed" where it has one size whatever the context, as in a recurrent model; "grows" where it is a cache of
    the context; "" where the file does not say.
    slot: its place in legends, its colour and its mark; architectures without one come last, by name.
    """

    name: str
    state: StateKind = ""
    slot: int = LAST


@cache
def about(arch: str) -> About:
    """arch: as rows and flags name it, a built-in architecture, the path of a `.py` file or a layer's dotted path.

    Never raises: what cannot be read (a user's file that is not on this machine) has a name all the same.
    """
    base, *changes = [arch] if arch.endswith(".py") else arch.split("+")
    if changes:  # such as `mamba+conv=4`: it is what it was, but no longer the owner of the slot
        return replace(about(base), name=", ".join([about(base).name, *changes]), slot=LAST)
    if not arch.endswith(".py") and "." in arch:  # recurrent layers alone are taken by their path
        return About(name=arch.rpartition(".")[2], state="fixed")
    path = Path(arch) if arch.endswith(".py") else MODELS / f"{arch}.py"
    try:
        told = _told(ast.parse(path.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError):
        told = None
    return told or About(name=path.stem)


def in_order(architectures: Iterable[str]) -> list[str]:
    """Those with a slot by it, then the others by name."""
    return sorted(set(architectures), key=lambda arch: (about(arch).slot, arch))


class MeasuredState(NamedTuple):
    """Of a row: what its state may depend on besides the context (task, view, size), its problem size, the bits of its
    state, and the bits that a token adds; None where a table has no such column."""

    key: Hashable
    n: int
    bits: int | None
    per_token: int | None


def state_kind(arch: str, measured: Iterable[MeasuredState]) -> StateKind:
    """What the rows of its models measured, else what its file says; "" where neither tells."""
    rows = list(measured)
    added = {row.per_token for row in rows if row.per_token is not None}
    if added:
        return "grows" if any(added) else "fixed"
    if about(arch).state:
        return about(arch).state
    bits: dict[Hashable, dict[int, int]] = defaultdict(dict)
    for row in rows:
        if row.bits is not None:
            bits[row.key][row.n] = row.bits
    several = [set(of_n.values()) for of_n in bits.values() if len(of_n) > 1]
    if not several:
        return ""
    return "grows" if any(len(different) > 1 for different in several) else "fixed"


def _told(module: ast.Module) -> About | None:
    """The arguments of `ABOUT = About(...)`.  Raises ValueError for values that are not literal."""
    known = {field.name for field in fields(About)}
    for line in module.body:
        match line:
            case ast.Assign(targets=[ast.Name("ABOUT")], value=ast.Call(keywords=keywords)):
                values = {each.arg: ast.literal_eval(each.value) for each in keywords if each.arg in known}
                return About(**values) if isinstance(values.get("name"), str) else None
    return None
