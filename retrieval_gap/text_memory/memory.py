"""The memory: a text in three sections, its budget in tokens, and every version with its diff and its reason."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from retrieval_gap.text_memory.written_json import read_object

# The paper's sections: the history, the status and focus, and what to watch.
SECTIONS = ("History", "Status", "Watch")
# A heading has a mark before its name, or a colon, a mark or nothing after it; `Watch out for rain` is not one.
_HEADING = re.compile(
    r"\s*(?P<before>#+\s*)?(?:\*\*)?(?P<name>History|Status|Watch)\b"
    r"(?P<behind>\s*(?:\*\*)?\s*:\s*(?:\*\*)?|\*\*)?\s*(?P<rest>.*)",
    re.IGNORECASE,
)
_BULLET = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+")
_EDIT = re.compile(
    r"\s*(?:[-*]\s*)?(?:(?P<add>ADD)\s+(?P<section>\w+)|(?P<replace>REPLACE)\s+(?P<id>\d{1,9}))\s*:\s*(?P<text>.+)"
    r"|\s*(?:[-*]\s*)?REMOVE\s+(?P<gone>\d{1,9})\.?\s*|\s*(?P<keep>KEEP)\.?\s*",
    re.IGNORECASE,
)
Reason = Literal[
    "start", "written", "consolidated", "second try", "unchanged", "over budget", "cut", "unreadable", "echo", "gate"
]


class UnreadableError(ValueError):
    """A reply that is not a memory, or not a list of edits."""


@dataclass(frozen=True)
class Memory:
    """items: the lines of each of `SECTIONS`, in order."""

    items: tuple[tuple[str, ...], ...] = ((), (), ())

    @property
    def text(self) -> str:
        """The text that the model reads and the budget counts: headings and items, one per line."""
        lines = []
        for section, items in zip(SECTIONS, self.items, strict=True):
            lines += [f"{section}:", *(f"- {item}" for item in items)]
        return "\n".join(lines)

    @property
    def numbered(self) -> str:
        """The same text with the numbers by which edits name items; they are not part of the memory."""
        lines, number = [], 0
        for section, items in zip(SECTIONS, self.items, strict=True):
            lines.append(f"{section}:")
            for item in items:
                number += 1
                lines.append(f"{number}. {item}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Version:
    """The memory after a step.  reason: why it is this one; for the reasons listed after "unchanged" the old memory was
    kept.  told: details for a person, such as how far over budget the rejected one was."""

    step: int
    text: str
    tokens: int
    reason: Reason
    told: str
    diff: tuple[str, ...]


def parse_memory(text: str) -> Memory:
    """Parse a memory as a model writes it: headings (with or without marks) and lines, or a JSON object of sections.

    Raises UnreadableError if no section is named.
    """
    found = _of_json(text)
    if found is not None:
        return found
    items: dict[str, list[str]] = {section: [] for section in SECTIONS}
    section = ""
    for line in text.splitlines():
        heading = _HEADING.fullmatch(line)
        if heading and (heading["before"] or heading["behind"] or not heading["rest"]):
            section = heading["name"].capitalize()
            line = heading["rest"]
        item = _BULLET.sub("", line, count=1).strip()
        if section and item:
            items[section].append(item)
    if not section:
        raise UnreadableError("no section is named")
    return Memory(tuple(tuple(items[name]) for name in SECTIONS))


def apply_edits(memory: Memory, text: str) -> tuple[Memory, int]:
    """Return the memory after edits, one per line (`ADD History: ...`, `REPLACE 3: ...`, `REMOVE 3`, `KEEP`), and the
    number of lines that are not edits: of another form, or of an unknown item or section.  Numbers are those of
    `numbered` before the first edit.

    Raises UnreadableError if no line is an edit.
    """
    numbered = [(place, item) for place, items in enumerate(memory.items) for item in items]
    kept: dict[int, tuple[int, str]] = dict(enumerate(numbered, start=1))
    added: list[tuple[int, str]] = []
    lines = [line for line in text.splitlines() if line.strip()]
    failed = 0
    for line in lines:
        edit = _EDIT.fullmatch(line)
        named = (edit["id"] or edit["gone"]) if edit else None
        number = int(named) if named else None
        section = edit["section"].capitalize() if edit and edit["add"] else ""
        if edit is None or (named and number not in kept) or (section and section not in SECTIONS):
            failed += 1
        elif section:
            added.append((SECTIONS.index(section), edit["text"].strip()))
        elif number is not None and edit["replace"]:
            kept[number] = (kept[number][0], edit["text"].strip())
        elif number is not None:
            del kept[number]
    if failed == len(lines):
        raise UnreadableError("no line is an edit")
    ordered = [*kept.values(), *added]
    return Memory(tuple(tuple(item for at, item in ordered if at == place) for place in range(len(SECTIONS)))), failed


def diff(old: str, new: str) -> tuple[str, ...]:
    """The removed ("- ...") and added ("+ ...") lines."""
    return tuple(line for line in difflib.ndiff(old.splitlines(), new.splitlines()) if line[0] in "+-")


def _of_json(text: str) -> Memory | None:
    value = read_object(text)
    if value is None:
        return None
    named = {key.capitalize(): each for key, each in value.items()}
    if not any(section in named for section in SECTIONS):
        return None
    return Memory(tuple(tuple(_lines(named.get(section, ""))) for section in SECTIONS))


def _lines(value: Any) -> Sequence[str]:
    items = value if isinstance(value, list) else [value]
    lines = [line for item in items for line in str(item).splitlines()]
    return [item for line in lines if (item := _BULLET.sub("", line, count=1).strip())]


def kept_version(last: Version, step: int, reason: Reason, told: str = "") -> Version:
    """The old memory, kept for a reason."""
    return replace(last, step=step, reason=reason, told=told, diff=())
