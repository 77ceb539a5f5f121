"""No two classes share a name, so that a search finds one, and no function has so many parameters that a type is
missing."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).parents[1]
MOST_PARAMETERS = 8


def parsed() -> Iterator[tuple[Path, ast.Module]]:
    """Every module except the kernels, whose backends share names on purpose."""
    files = [
        file for folder in ("retrieval_gap", "tasks", "plots", "benchmarks") for file in (TOP / folder).rglob("*.py")
    ]
    for file in sorted({file.resolve() for file in files}):  # retrieval_gap/tasks is a link to tasks
        if "kernels" not in file.parts:
            yield file.relative_to(TOP), ast.parse(file.read_text(encoding="utf-8"))


def test_no_two_classes_have_one_name() -> None:
    places = defaultdict(list)
    for file, module in parsed():
        for each in module.body:
            if isinstance(each, ast.ClassDef):
                places[each.name].append(str(file))
    assert len(places) > 300
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_function_has_more_than_eight_parameters() -> None:
    long = []
    for file, module in parsed():
        for each in ast.walk(module):
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                given = [*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs]
                if len([one for one in given if one.arg not in ("self", "cls")]) > MOST_PARAMETERS:
                    long.append(f"{file}: {each.name}")
    assert long == []
