"""The console command `retrieval-gap`: parses one of `retrieval_gap.commands` and runs it.

Exit status: 0 done, 1 failed, 2 wrong use.  Errors are one line on standard error; `--debug` adds the traceback.
"""

import contextlib
import difflib
import io
import itertools
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import tyro

from retrieval_gap import __version__
from retrieval_gap.commands import COMMANDS, TASK_COMMANDS, Command
from retrieval_gap.commands.train import TrainCommand
from retrieval_gap.machine.errors import RunError, UsageError, fault, no_files_left, open_files_message, unknown
from retrieval_gap.machine.printing import drop_output, escape_unencodable, nowhere, printable
from retrieval_gap.tasks.api import TaskError

LONGEST_LINE, KEPT_END = 450, 120  # characters of an error
UNRECOGNIZED = "Unrecognized "  # how its box about unknown flags begins
MISSING = "  Missing from "  # how tyro's box about missing arguments begins
NARROWEST = 40  # columns; in narrower terminals tyro's help never ends
T = TypeVar("T")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and run one command; return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    if words == ["--version"]:
        print(f"retrieval-gap {__version__}")
        return 0
    sys.stdout, sys.stderr = sys.stdout or nowhere(), sys.stderr or nowhere()  # None where they are closed
    for stream in (sys.stdout, sys.stderr):
        escape_unencodable(stream)
    try:
        _guarded(_parse([word for word in words if word != "--debug"]).run)
        sys.stdout.flush()
    except (UsageError, TaskError) as error:
        return _failed(error, str(error), 2, debug)
    except BrokenPipeError:
        drop_output()  # the reader went away (`| head`)
    except KeyboardInterrupt as error:
        return _failed(error, "interrupted", 1, debug)
    except RunError as error:
        return _failed(error, str(error), 1, debug)
    except ValueError as error:
        if not sys.stdout.closed:
            return _failed(error, f"{fault(error)} (--debug shows the traceback)", 1, debug)
        return _failed(error, "the standard output was closed while the command ran", 1, debug)
    except OSError as error:
        if no_files_left(error):
            return _failed(error, open_files_message(), 1, debug)
        return _failed(error, f"{error.filename or 'standard output'}: {error.strerror or error}", 1, debug)
    except Exception as error:
        return _failed(error, f"{fault(error)} (--debug shows the traceback)", 1, debug)
    return 0


def _guarded(work: Callable[[], T]) -> T:
    """Raises RunError if a user's file exits the process, BrokenPipeError if rich does so for one."""
    try:
        return work()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            raise stop.__context__ from None
        raise RunError(fault(stop)) from stop


def _parse(words: list[str]) -> Command:
    """Raises UsageError, one line, where tyro would print a box; SystemExit(0) after --help."""
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise unknown("command", words[0], COMMANDS)
    options = ""
    if words and (words[0] in TASK_COMMANDS or _is_grid_of_a_task(words)):
        from retrieval_gap.commands.task_flags import split_task_flags

        words, options = _guarded(lambda: split_task_flags(words))
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told), _wide_enough():
            command: Any = _parse_with_tyro(words)
    except SystemExit as stop:
        if stop.code in (0, None):
            _tell_task_flags(words)
            sys.stdout.flush()
            raise
        raise UsageError(_one_line(told.getvalue(), words)) from stop
    if isinstance(command, TrainCommand):
        return replace(command, config=replace(command.config, options=options))
    return replace(command, options=options) if hasattr(command, "options") else command


def _parse_with_tyro(words: list[str]) -> Command:
    """Raises SystemExit: with status 0 after --help, else after a box on standard error."""
    command: Command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, args=words, prog="retrieval-gap", description=__doc__.split("\n\n")[1]
    )
    return command


@contextmanager
def _wide_enough() -> Iterator[None]:
    """Make the terminal at least NARROWEST columns wide within the context."""
    before = os.environ.get("COLUMNS")
    if shutil.get_terminal_size().columns < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)
    try:
        yield
    finally:
        os.environ.pop("COLUMNS", None)
        os.environ.update({} if before is None else {"COLUMNS": before})


def _is_grid_of_a_task(words: list[str]) -> bool:
    """Whether this is a sweep with --task: a preset or a file has its own task."""
    return words[0] == "sweep" and any(word.partition("=")[0] == "--task" for word in words)


def _tell_task_flags(words: list[str]) -> None:
    """After the help of a command about one task, print the flags of the named task, which tyro does not know."""
    if words[0] in TASK_COMMANDS or _is_grid_of_a_task(words):
        from retrieval_gap.commands.task_flags import task_flags_help

        told = task_flags_help(words)
        if told:
            print(told)


def _one_line(box: str, words: Sequence[str]) -> str:
    """Return the text of tyro's error box without frame and title; of missing arguments, only their names; of a flag
    that the command does not have, this and the nearest one that it has."""
    lines = [re.sub(r"[│╭╰─╮╯]|^[|]|[|]$", " ", line).rstrip() for line in box.splitlines()[1:]]
    lines = [line for line in lines if line.strip(" -")]  # in ASCII output, rules are dashes
    if lines and lines[0].startswith(MISSING):
        missing = re.sub(r",\n +", ", ", "\n".join(lines).partition("For full helptext")[0])
        names = [name.split() for name in re.findall(r"^ {6}(\S.*)", missing, re.MULTILINE)]
        flags = [next((word for word in reversed(name) if word.startswith("--")), name[0]) for name in names]
        if unknown_words := [flag for flag in flags if flag in words]:
            return _not_taken(unknown_words[0], words)
        return f"missing: {', '.join(flags)}; run: {lines[0].removeprefix(MISSING).rstrip(':')} --help"
    text = " ".join(line.strip() for line in lines if line)
    if text.startswith(UNRECOGNIZED):
        told = re.split("Arguments are applied|Perhaps you meant|For full helptext", text.partition("options: ")[2])[0]
        listed = re.split(r"[\s,]+", re.sub(r"\(applied to .*?\)", "", told))
        return _not_taken(next((word for word in words if word in listed), listed[0]), words)
    if empty := re.match(r"Missing value for argument '([^']+)'.*helptext, run (.+) --help", text):
        flag, command = empty[1].rpartition("/")[2], empty[2].removeprefix("retrieval-gap ")
        name = flag.rpartition(".")[2]  # such as action.benchmark
        told = f"{flag} has no value" if flag.startswith("-") else f"{command} takes {name.upper()} without --{name}"
        return f"{told}; run: retrieval-gap {command} --help"
    return re.sub(r"\s+", " ", text).replace(" For full helptext, ", "; ")


def _not_taken(wrong: str, words: Sequence[str]) -> str:
    """The error for a word that the command of a line does not take."""
    grouped = "action" in getattr(COMMANDS.get(words[0]), "__dataclass_fields__", {})  # such as `memory run`
    name = [*itertools.takewhile(lambda word: word != wrong and not word.startswith("-"), words[: 1 + grouped])]
    told_name, more = " ".join(name) or "retrieval-gap", f"run: {' '.join(['retrieval-gap', *name])} --help"
    if not wrong.startswith("-"):
        from retrieval_gap.tasks.registry import is_task_name

        meant = f"; did you mean --task {wrong}?" if COMMANDS[words[0]] is TrainCommand and is_task_name(wrong) else ""
        return f"{told_name} does not take {wrong!r}{meant}; {more}"
    wrong, told = wrong.partition("=")[0], io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        _parse_with_tyro([*name, "--help"])
    near = difflib.get_close_matches(wrong, re.findall(r"--[a-z][\w-]*", told.getvalue()), n=1, cutoff=0.75)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{told_name} has no flag {wrong}{hint}; {more}"


def _failed(error: BaseException, text: str, status: int, debug: bool) -> int:
    if debug:
        raise error
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        drop_output()
    with contextlib.suppress(OSError, ValueError):
        line = printable(" ".join(text.split())) or type(error).__name__
        print("retrieval-gap:", _cut(line), file=sys.stderr)
    return status


def _cut(line: str) -> str:
    """Cut the middle of a long line: what is wrong is at its start, what to do at its end."""
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - KEPT_END]} ... {line[-KEPT_END:]}"


if __name__ == "__main__":
    sys.exit(main())
