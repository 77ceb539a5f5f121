"""Read an architecture's description from its file without running it, so that figures need no torch.

The file of an architecture may contain, with literal values,

    ABOUT = About(name="Gated DeltaNet", state="fixed", slot=6)

Without it the name is the file's stem, the colour is a free one, and the kind of state is measured from its runs' rows.
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
LAST = 1 << 30  # the slot of architectures without one


@dataclass(frozen=True, kw_only=True)
class About:
    """How tables and figures show an architecture.

    state: "fixed" if its size does not depend on the context, as in a recurrent model; "grows" if it is a cache of the
    context; "" if the file does not say.
    slot: sets its place in legends, its colour and its marker; architectures without a slot come last, by name.
    """

    name: str
    state: StateKind = ""
    slot: int = LAST


@cache
def about(arch: str) -> About:
    """The description of an architecture.  Never raises: an unreadable file (not on this machine) has a name too.

    arch: as in rows and flags: a built-in architecture, the path of a `.py` file, or a layer's dotted path.
    """
    base, *changes = [arch] if arch.endswith(".py") else arch.split("+")
    if changes:  # such as `mamba+conv=4`: described as `mamba`, but without its slot
        return replace(about(base), name=", ".join([about(base).name, *changes]), slot=LAST)
    if not arch.endswith(".py") and "." in arch:  # only recurrent layers are given by a dotted path
        return About(name=arch.rpartition(".")[2], state="fixed")
    path = Path(arch) if arch.endswith(".py") else MODELS / f"{arch}.py"
    try:
        told = _told(ast.parse(path.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError):
        told = None
    return told or About(name=path.stem)


def in_order(architectures: Iterable[str]) -> list[str]:
    """Distinct architectures by slot; those without one come last, by name."""
    return sorted(set(architectures), key=lambda arch: (about(arch).slot, arch))


class MeasuredState(NamedTuple):
    """The state size of one row; None where the table has no such column.

    key: what the size may depend on besides the context (task, view, model size).  n: problem size.  bits: of the
    state.  per_token: bits that a token adds.
    """

    key: Hashable
    n: int
    bits: int | None
    per_token: int | None


def state_kind(arch: str, measured: Iterable[MeasuredState]) -> StateKind:
    """The kind of state by the rows' `per_token`, else by the file, else by how `bits` change with n; "" if unknown."""
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
