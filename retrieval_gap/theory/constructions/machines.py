"""Turing machines with one tape, infinite in both directions: reading them from JSON, and running them step by step.

A file, such as those in machine_files/:

    {"about": "...", "start": "A", "halting": ["H"], "accepting": ["H"], "blank": "0", "symbols": ["0", "1"],
     "transitions": ["A 0 -> 1 R B", ...]}

"A 0 -> 1 R B": in state A on a cell that holds 0, write 1, move right (L left, S stay), continue in state B.  A machine
halts in a halting state, and where it has no transition; it accepts if it halts in an accepting state.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from retrieval_gap.machine.errors import UsageError, unknown

MACHINE_FILES = Path(__file__).parent / "machine_files"
Move = Literal["L", "S", "R"]
MOVES: Mapping[str, int] = MappingProxyType({"L": -1, "S": 0, "R": 1})
FIELDS = ("start", "halting", "accepting", "blank", "symbols", "transitions")


@dataclass(frozen=True)
class Transition:
    """A machine's action in a state on a symbol.  move: -1, 0 or 1 cells to the right."""

    write: str
    move: int
    state: str


@dataclass(frozen=True, kw_only=True)
class TuringMachine:
    """A Turing machine; `transitions` by (state, symbol).

    states: all states, including the start and the halting ones.
    """

    name: str
    about: str
    start: str
    halting: tuple[str, ...]
    accepting: tuple[str, ...]
    blank: str
    symbols: tuple[str, ...]
    states: tuple[str, ...]
    transitions: Mapping[tuple[str, str], Transition]

    def word(self, text: str) -> list[str]:
        """The symbols of an input: its characters, or its words if it has a space or is itself a symbol.

        Raises UsageError for a symbol that is not one of the machine's.
        """
        symbols = text.split() if " " in text or text in self.symbols else list(text)
        for place, symbol in enumerate(symbols):
            if symbol not in self.symbols:
                alphabet = " ".join(self.symbols)
                raise UsageError(f"input symbol {symbol!r} (place {place + 1}) is not one of {self.name}'s: {alphabet}")
        return symbols

    def spelled(self, cells: Mapping[int, str]) -> str:
        """The tape from its first to its last nonblank cell, with spaces between symbols if one is longer than 1."""
        used = [cell for cell, symbol in cells.items() if symbol != self.blank]
        between = range(min(used, default=0), max(used, default=-1) + 1)
        return self._gap.join(cells.get(cell, self.blank) for cell in between)

    def symbols_of(self, tape: str) -> list[str]:
        """The symbols of a tape that `spelled` wrote."""
        return tape.split() if self._gap else list(tape)

    @property
    def _gap(self) -> str:
        return " " if max(map(len, self.symbols)) > 1 else ""


@dataclass(frozen=True)
class MachineRun:
    """The end of a run.  tape: see `TuringMachine.spelled`.  steps: transitions made.  halted: False at the limit."""

    tape: str
    steps: int
    halted: bool
    accepted: bool


def machine_names() -> tuple[str, ...]:
    """The machines that come with the project."""
    return tuple(sorted(path.stem for path in MACHINE_FILES.glob("*.json")))


def load_machine(name_or_path: str) -> TuringMachine:
    """The machine with this name, or in this JSON file.

    Raises a one-line UsageError for an unknown name, and for a file that is missing or not a valid machine.
    """
    path = Path(name_or_path) if name_or_path.endswith(".json") else MACHINE_FILES / f"{name_or_path}.json"
    if path.parent == MACHINE_FILES and path.stem not in machine_names():
        raise unknown("machine", name_or_path, [*machine_names(), "path/to/machine.json"])
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {error}") from error
    if not isinstance(told, dict):
        raise UsageError(f"{path}: a machine is an object with {', '.join(FIELDS)}")
    return read_machine(told, path.stem, str(path))


def read_machine(told: Mapping[str, Any], name: str, where: str) -> TuringMachine:
    """The machine that a file's content describes.  Raises UsageError, beginning with `where`, for any fault in it."""
    missing = [field for field in FIELDS if field not in told]
    if missing:
        raise UsageError(f"{where}: {', '.join(missing)} missing (a machine has {', '.join(FIELDS)})")
    start, blank = (_words(told, field, where, single=True)[0] for field in ("start", "blank"))
    halting, accepting, symbols, lines = (_words(told, field, where) for field in FIELDS if field not in _SINGLE)
    transitions = _transitions(lines, symbols, where)
    sources = [state for state, _ in transitions]
    states = tuple(dict.fromkeys([start, *sources, *halting]))
    _check_states(states, start, halting, accepting, transitions, where)
    if blank not in symbols:
        raise UsageError(f"{where}: the blank {blank!r} is not one of the symbols: {' '.join(symbols)}")
    return TuringMachine(
        name=name,
        about=str(told.get("about", "")),
        start=start,
        halting=tuple(halting),
        accepting=tuple(accepting),
        blank=blank,
        symbols=tuple(dict.fromkeys([blank, *symbols])),
        states=states,
        transitions=transitions,
    )


_SINGLE = ("start", "blank")


def _words(told: Mapping[str, Any], field: str, where: str, single: bool = False) -> list[str]:
    value = [told[field]] if single else told[field]
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise UsageError(f"{where}: {field} is to be {'a string' if single else 'a list of strings'}")
    if field != "transitions" and any(len(word.split()) != 1 or word.split()[0] != word for word in value):
        raise UsageError(f"{where}: {field} holds a name that is empty or has a space in it")
    return value


def _transitions(lines: Sequence[str], symbols: Sequence[str], where: str) -> dict[tuple[str, str], Transition]:
    transitions: dict[tuple[str, str], Transition] = {}
    for line in lines:
        match line.split():
            case [state, symbol, "->", write, move, after] if move in get_args(Move):
                outside = [s for s in (symbol, write) if s not in symbols]
                if outside:
                    raise UsageError(
                        f"{where}: {line!r}: {outside[0]!r} is not in the alphabet (symbols: {' '.join(symbols)})"
                    )
                if (state, symbol) in transitions:
                    raise UsageError(f"{where}: {line!r}: state {state!r} has two transitions on {symbol!r}")
                transitions[state, symbol] = Transition(write, MOVES[move], after)
            case _:
                raise UsageError(f"{where}: {line!r} is not a transition; write 'STATE SYMBOL -> SYMBOL L|S|R STATE'")
    return transitions


def _check_states(
    states: Sequence[str],
    start: str,
    halting: Sequence[str],
    accepting: Sequence[str],
    transitions: Mapping[tuple[str, str], Transition],
    where: str,
) -> None:
    if not halting:
        raise UsageError(f"{where}: no halting state; name one or more in 'halting'")
    sources = {state for state, _ in transitions}
    if start not in sources and start not in halting:
        raise UsageError(f"{where}: unknown state {start!r}: the start has no transition and is not halting")
    for (state, symbol), transition in transitions.items():
        if state in halting:
            raise UsageError(f"{where}: halting state {state!r} has a transition (on {symbol!r})")
        if transition.state not in states:
            raise UsageError(
                f"{where}: unknown state {transition.state!r} (where {state!r} goes on {symbol!r}):"
                " it has no transition and is not halting"
            )
    for state in accepting:
        if state not in halting:
            raise UsageError(f"{where}: accepting state {state!r} is not a halting state")


def simulate(machine: TuringMachine, word: Sequence[str], max_steps: int) -> MachineRun:
    """Run the machine on an input for at most `max_steps` steps; the head starts at the first symbol."""
    cells, head, state, steps = dict(enumerate(word)), 0, machine.start, 0
    while steps < max_steps:
        transition = machine.transitions.get((state, cells.get(head, machine.blank)))
        if transition is None:
            break
        cells[head] = transition.write
        head += transition.move
        state = transition.state
        steps += 1
    halted = (state, cells.get(head, machine.blank)) not in machine.transitions
    return MachineRun(machine.spelled(cells), steps, halted, halted and state in machine.accepting)
