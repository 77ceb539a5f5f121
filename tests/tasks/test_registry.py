"""Tasks are found by name or file, and a task that cannot be found is explained in one line."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from retrieval_gap.tasks.api import TaskConfig, TaskError
from retrieval_gap.tasks.index import Index
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.tasks.registry import code_digest, files_of, load_task, run_file, task_names

OWN_TASK = """
from retrieval_gap.tasks.api import Task
from retrieval_gap.tasks.index import Index

class Mine(Index):
    name = "mine"
"""


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def refusal(name_or_path: str) -> str:
    with pytest.raises(TaskError) as refused:
        load_task(name_or_path)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_built_in_tasks_are_found_by_name():
    recall = ("associative_recall", "cgram_retrieval", "copy", "counting", "index", "last_write", "mqar")
    others = ("find_path", "hotpotqa", "istree", "position_retrieval", "word_problem")
    assert task_names() == tuple(sorted((*recall, *others)))
    assert load_task("istree") is IsTree
    assert load_task("index") is Index


def test_every_name_is_the_name_of_its_task():
    assert all(load_task(name).name == name for name in task_names())


def test_a_task_in_a_users_file_is_found_by_its_path(tmp_path):
    task = load_task(write(tmp_path, OWN_TASK))(TaskConfig(n=4))
    assert task.name == "mine"
    assert task.sample(np.arange(3)).tokens_BxL.shape == (3, 8)


def test_a_file_can_say_which_of_its_classes_is_the_task(tmp_path):
    text = OWN_TASK + "class Other(Mine):\n    name = 'other'\n\nTASK = Other\n"
    assert load_task(write(tmp_path, text)).name == "other"


def test_files_of_the_same_name_are_separate_modules(tmp_path):
    (tmp_path / "a").mkdir()
    first = load_task(write(tmp_path, OWN_TASK))
    second = load_task(write(tmp_path / "a", OWN_TASK.replace('"mine"', '"second"')))
    assert (first.name, second.name) == ("mine", "second")
    assert first.__module__ != second.__module__


def test_the_error_for_an_unknown_name_suggests_the_nearest():
    message = refusal("istre")
    assert message == f"unknown task 'istre' (choose from {', '.join(task_names())}); did you mean 'istree'?"


def test_modules_that_hold_no_task_are_unknown_names():
    assert "unknown task 'api'" in refusal("api")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = (1,\n", ":1: SyntaxError: "),
        ("a = 1\nimport nowhere_to_be_found\n", ":2: ModuleNotFoundError: No module named"),
        ("def f():\n    raise RuntimeError('no\\nway')\n\nf()\n", ":2: RuntimeError: no way"),
        ("x = 1\n", "must define one subclass of Task, or name it TASK; it defines none"),
        ("TASK = 3\n", "3 is not a subclass of Task"),
        (OWN_TASK + "class Twin(Mine):\n    pass\n", "it defines Mine, Twin"),
        (
            "from retrieval_gap.tasks.api import Task\nclass Half(Task):\n    pass\n",
            "Half lacks answers, max_length, sample",
        ),
    ],
)
def test_a_file_without_a_usable_task_is_refused_in_one_line(tmp_path, text, says):
    path = write(tmp_path, text)
    message = refusal(path)
    assert message.startswith(path)
    assert says in message


def test_an_error_is_placed_in_a_file_that_is_given_by_a_relative_path(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("x = 1\ny = 2\nz = 1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskError, match=r"^mine\.py:3: ZeroDivisionError"):
        load_task("mine.py")


def test_a_missing_file_is_named(tmp_path):
    assert refusal(str(tmp_path / "gone.py")) == f"no such task file: {tmp_path / 'gone.py'}"


def beside(folder: Path, value: int) -> Path:
    """A file with a value that it takes from two files beside it, one in a package."""
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "__init__.py").write_text("from .inner import BASE\n")
    (folder / "parts" / "inner.py").write_text("BASE = 10\n")
    (folder / "shift.py").write_text(f"from parts import BASE\nVALUE = BASE + {value}\n")
    (folder / "other.py").write_text("raise RuntimeError('nobody imports this')\n")
    (folder / "random.py").write_text("raise RuntimeError('hides a module of Python')\n")
    (folder / "mine.py").write_text("import random\nfrom shift import VALUE\n")
    return folder / "mine.py"


def test_files_beside_a_users_file_are_imported_from_its_own_folder_and_as_they_are_now(tmp_path):
    paths, before = [beside(tmp_path / name, value) for name, value in (("a", 1), ("b", 2))], list(sys.path)
    modules = [run_file(path, "thing", ValueError) for path in paths]
    assert [module.VALUE for module in modules] == [11, 12]
    assert run_file(paths[0], "thing", ValueError).VALUE == 11
    (tmp_path / "a" / "parts" / "inner.py").write_text("BASE = 1_000\n")
    assert run_file(paths[0], "thing", ValueError).VALUE == 1_001
    assert sys.path == before


def test_the_digest_covers_what_a_file_imports_and_nothing_else(tmp_path, monkeypatch):
    path = beside(tmp_path / "a", 1)
    assert {file.name for file in files_of(path)} >= {"mine.py", "shift.py", "__init__.py", "inner.py"}
    first = code_digest(path)
    (path.parent / "other.py").write_text("")
    assert code_digest(path) == first
    monkeypatch.chdir(path.parent)
    assert code_digest(Path("mine.py")) == first
    (path.parent / "parts" / "inner.py").write_text("BASE = 11\n")
    assert code_digest(path) != first


def test_the_digest_of_a_file_alone_is_that_of_its_content(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import random\n")
    assert code_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("flip: bool = False", "the option flip of Own is a bool; an option is a whole number, a float"),
        ("flip: int", "the option flip of Own has no default"),
        ("flip: list = field(default_factory=list)", "the option flip of Own has no default"),
        ("flip: object = None", "the option flip of Own is a NoneType"),
    ],
)
def test_an_option_that_a_flag_cannot_hold_is_refused_by_name(tmp_path, field, told):
    text = f"""
from dataclasses import dataclass, field
from retrieval_gap.tasks.api import TaskOptions
{OWN_TASK}
    options_type = None

@dataclass(frozen=True, kw_only=True)
class Own(TaskOptions):
    {field}

Mine.options_type = Own
"""
    with pytest.raises(TaskError, match=f"mine: {told}"):
        load_task(write(tmp_path, text))(TaskConfig(n=4))
