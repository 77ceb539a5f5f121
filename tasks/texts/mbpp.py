"""MBPP (Austin et al. 2021, arXiv 2108.07732): does a program still pass its tests after a small edit?

An edit swaps two neighbouring statements, or the two sides of an operator whose sides matter, so an edited program has
the words of the original in another order.  Its label comes from running the tests, each program in a process of its
own with limits.  Of each task one edit that passes and one that fails are kept; a task that lacks either is left out.
Running other people's code is opt-in: nothing here runs unless `label_edits` is called.
"""

import ast
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..api import TaskError
from .files import find_file, read_records
from .generated import SampleDraws

FILE = "mbpp_sanitized.jsonl"
FIELDS = {"task_id": int, "code": str, "test_imports": list, "test_list": list}
MOST_TRIED = 8  # edits of a task
SECONDS, MEMORY = 5, 1 << 30
SIDES_MATTER = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
COMPARED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def edits(code: str, draws: SampleDraws) -> Iterator[str]:
    """Different edited programs in random order, as Python writes them; none if the code does not parse."""
    try:
        count = len(_places(ast.parse(code)))
    except SyntaxError:
        return
    seen = {ast.unparse(ast.parse(code))}
    for number in draws.some(range(count), count):
        tree = ast.parse(code)
        _swap(*_places(tree)[number])
        text = ast.unparse(ast.fix_missing_locations(tree))
        if text not in seen:
            seen.add(text)
            yield text


def _places(tree: ast.AST) -> list[tuple[ast.AST, int]]:
    """Places for an edit: an operator (-1), or a list of statements and the index of the first of two."""
    found: list[tuple[ast.AST, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, SIDES_MATTER):
            found.append((node, -1))
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], COMPARED):
            found.append((node, -1))
        if isinstance(node, ast.FunctionDef | ast.For | ast.While | ast.If):
            found += [(node, first) for first in range(len(node.body) - 1)]
    return found


def _swap(node: ast.AST, first: int) -> None:
    if isinstance(node, ast.BinOp):
        node.left, node.right = node.right, node.left
    elif isinstance(node, ast.Compare):
        node.left, node.comparators[0] = node.comparators[0], node.left
    elif isinstance(node, ast.FunctionDef | ast.For | ast.While | ast.If):
        node.body[first : first + 2] = node.body[first : first + 2][::-1]


def passes(code: str, imports: list[str], tests: list[str]) -> bool:
    """Whether the program passes all tests, in a process without environment, files or much time and memory."""
    program = "\n".join([*imports, code, *tests])
    with tempfile.TemporaryDirectory() as room:
        try:
            told = subprocess.run(
                [sys.executable, "-I", "-c", program],
                cwd=room,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=2 * SECONDS,
                preexec_fn=_limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return told.returncode == 0


def _limit() -> None:
    for what, most in ((resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(what, (most, most))


def label_edits(data: Path | None, out: Path, *, seed: int = 0, most_tasks: int = 0) -> int:
    """Run other people's code; write edited programs and their labels as a set `own`, split by task.

    most_tasks: tasks from the file's start; 0 means all.  Returns the number of examples.  Raises TaskError for an
    invalid file.
    """
    records = read_records(find_file(data, FILE, "mbpp"), FIELDS)[: most_tasks or None]
    rows: list[str] = []
    for _, record in records:
        found: dict[bool, str] = {}
        draws = SampleDraws(f"texts|mbpp|seed={seed}", record["task_id"], 0)
        for tried, text in enumerate(edits(record["code"], draws)):
            if len(found) == 2 or tried == MOST_TRIED:
                break
            found.setdefault(passes(text, record["test_imports"], record["test_list"]), text)
        if len(found) == 2:
            group = f"task {record['task_id']}"
            rows += [
                json.dumps({"text": text, "label": "passes" if right else "fails", "group": group})
                for right, text in sorted(found.items())
            ]
    if not rows:
        raise TaskError(f"no task of {data} has an edit that passes and one that fails")
    out.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return len(rows)
