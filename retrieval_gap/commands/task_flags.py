"""Flags of a task: its name for the problem size, and its options, such as `--c 3` of cgram_retrieval."""

import inspect
import os
import shlex
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from retrieval_gap.commands import COMMANDS
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import Task, TaskError, TaskOptions
from retrieval_gap.tasks.registry import is_task_name, load_task

QUERY_FLAG = "--query"
GENERAL_FLAGS = ("--help", "--debug")
TRYING = ("sample", "train", "sweep")
SIZE_FLAGS = ("--n", "--n-nodes", "--length", "--n-paragraphs")


def split_task_flags(words: list[str]) -> tuple[list[str], str]:
    """The words without the flags that only their task has, and these flags as its options, such as `c=3 values=4`.

    Raises UsageError for the size flag of another task and for --query if the task has none, TaskError for a file that
    defines no task, or one with an option named like a flag of the commands that every task is used with.
    """
    task = _named_task(words)
    if task is None:
        return words, ""  # whatever is wrong is reported later
    own = _own_flags(task)
    for command in TRYING:
        for flag in own.keys() & {*_flags_of(COMMANDS[command]), *SIZE_FLAGS, *GENERAL_FLAGS}:
            name = flag[2:].replace("-", "_")
            raise TaskError(f"{task.name}: its option {name} needs another name: {flag} is a flag of {command}")
    kept, options = [], []
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-")
        if flag in SIZE_FLAGS and flag not in ("--n", task.size_flag) and task.size_flag != "--n":
            raise UsageError(f"{flag} is not a flag of {task.name}: its size is {task.size_flag}")
        if flag == QUERY_FLAG and flag not in own:
            raise UsageError(f"{flag} is not a flag of {task.name}: it has no query that could come first")
        if flag in own:
            value = value if equals else next(rest, "")
            options.append(f"{flag[2:].replace('-', '_')}={value}")
        else:
            kept.append(word)
    return kept, shlex.join(options)


def task_flags_help(words: list[str]) -> str:
    """Help for a task's own flags, in a few lines; "" if the words name no task, or one without flags."""
    task = _named_task(words)
    if task is None or not (own := _own_flags(task)):
        return ""
    flags = [f"{flag}={shlex.quote(default)}" for flag, default in own.items()]
    kinds = [kind for kind in task.options_type.__mro__ if issubclass(kind, TaskOptions) and kind is not TaskOptions]
    docs = [inspect.cleandoc(kind.__doc__ or "") for kind in kinds]
    meant = [doc for doc, kind in zip(docs, kinds, strict=True) if not doc.startswith(f"{kind.__name__}(")]
    families = f"; families: {', '.join(task.families)}" if any(task.families) else ""
    return "\n".join([f"flags of {task.name}: {', '.join(flags)}{families}", *meant])


def _named_task(words: list[str]) -> type[Task] | None:
    named = _task_of(words)
    known = is_task_name(named) or os.path.isfile(named)  # unlike a Path, it takes names too long for a file
    return load_task(named) if known else None


def _flags_of(command: Any) -> set[str]:
    """The flags of a command, without other names for n: those of its fields, and of dataclasses among them; `grid` is
    a word without a flag."""
    kinds = get_type_hints(command)
    names = [field.name for field in fields(command) if not is_dataclass(kinds[field.name])]
    inner = [_flags_of(kind) for kind in kinds.values() if is_dataclass(kind)]
    return {f"--{name}".replace("_", "-") for name in names if name != "grid"}.union(*inner)


def _own_flags(task: type[Task]) -> dict[str, str]:
    """The flags of a task's options, each with its default."""
    return {f"--{field.name}".replace("_", "-"): str(field.default) for field in fields(task.options_type)}


def _task_of(words: list[str]) -> str:
    """The word after `--task`, else the first word after the command that is not a flag, else ""."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--task":
            return following
        if word.startswith("--task="):
            return word.removeprefix("--task=")
    return next((word for word in words[1:] if not word.startswith("-")), "")
