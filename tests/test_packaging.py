"""The package works beside a user's folders of the same names as ours, and as an installed wheel."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RAISES = 'raise RuntimeError("this is the user\'s own, and none of ours")\n'
GRID = (
    "sweep --task index --mode direct --n 4 --arch lstm --size tiny --samples 64 --batch-size 8 --warmup-samples 8 "
    "--eval-samples 10 --device cpu --workers 1"
)
TRAIN = (
    "train --task index --mode direct --n 4 --arch lstm --size tiny --samples 64 --batch-size 8 --warmup-samples 8 "
    "--eval-samples 10 --device cpu --threads 1"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with its own `tasks/`, `benchmarks/` and `plots.py`, which raise an error if imported."""
    for name in ("tasks", "benchmarks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(RAISES)
    (tmp_path / "plots.py").write_text(RAISES)
    return tmp_path


def run(words: str, folder: Path, *start: str) -> subprocess.CompletedProcess[str]:
    """The result of a command, by default started as `python -m`, whose path begins with the folder."""
    command = [*(start or (sys.executable, "-m", "retrieval_gap.cli")), *words.split()]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    "words",
    [
        "sample index --n 4",
        "bound index --n 4 --bits 3",
        GRID,
        f"{TRAIN} --ranks 2",
        f"plot fig_state_bits --results {ROOT}/results/theory_demo_probe.csv",
    ],
)
def test_a_users_modules_do_not_hide_ours(words: str, folder: Path) -> None:
    told = run(words, folder)
    assert told.returncode == 0, told.stderr


def test_the_console_script_works_beside_a_users_modules(folder: Path) -> None:
    script = Path(sys.executable).parent / "retrieval-gap"
    if not script.exists():
        pytest.skip("the package is not installed in this environment")
    told = run("sample index --n 4", folder, str(script))
    assert told.returncode == 0, told.stderr


def test_workers_start_beside_files_with_names_of_pythons_own_modules(folder: Path) -> None:
    for name in ("random.py", "numpy.py"):
        (folder / name).write_text(RAISES)
    start = "import sys; del sys.path[0]; from retrieval_gap.cli import main; sys.exit(main())"  # as a console script
    told = run(GRID, folder, sys.executable, "-c", start)
    assert told.returncode == 0, told.stderr


def test_a_users_file_may_import_its_own_folder_beside_it(folder: Path) -> None:
    (folder / "tasks" / "__init__.py").write_text("MINE = 3\n")
    source = (ROOT / "tasks" / "index.py").read_text().replace("from .", "from retrieval_gap.tasks.")
    (folder / "mine.py").write_text(f"import tasks\nassert tasks.MINE == 3\n{source}")
    told = run("sample mine.py --n 4", folder)
    assert told.returncode == 0, told.stderr


@pytest.mark.slow
def test_ray_works_beside_a_users_modules(folder: Path) -> None:
    pytest.importorskip("ray")
    told = run(GRID.replace("--workers 1", "--executor ray"), folder)
    assert told.returncode == 0, told.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a source archive and the wheel that `python -m build` makes from it.  The environment's setuptools
    builds both, so nothing is downloaded."""
    source, out = tmp_path_factory.mktemp("source") / "project", tmp_path_factory.mktemp("dist")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        place = source / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            place.symlink_to(os.readlink(ROOT / name))
        elif (ROOT / name).exists():
            place.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    told = subprocess.run(build, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr
    return out


@pytest.mark.slow
def test_archives_pass_the_checks_of_the_package_index(built: Path) -> None:
    archives = [str(path) for path in built.iterdir()]
    told = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *archives], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.slow
def test_a_wheel_holds_one_package_and_no_benchmarks(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"retrieval_gap"}
    assert not [name for name in names if name.startswith("retrieval_gap/benchmarks")]
    for wanted in (
        "tasks/index.py",
        "plots/accuracy.py",
        "plots/report/page.html",
        "py.typed",
        "datasets/catalog.toml",
    ):
        assert f"retrieval_gap/{wanted}" in names


@pytest.mark.slow
def test_a_source_archive_has_what_a_wheel_is_built_from(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as members:
        names = {name.partition("/")[2] for name in members.getnames()}
    assert {"pyproject.toml", "retrieval_gap/cli.py", "retrieval_gap/tasks/index.py"} <= names


@pytest.mark.slow
def test_a_wheel_runs_the_demo_in_an_empty_environment(built: Path, folder: Path) -> None:
    """Its dependencies are links to those of this environment; the package itself is the wheel's."""
    place = folder / "environment"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], check=True)
    (site,) = (place / "lib").glob("python*/site-packages")
    ours = Path(next(path for path in sys.path if path.endswith("site-packages")))
    for entry in ours.iterdir():  # all but this project itself
        if "retrieval_gap" not in entry.name and not (site / entry.name).exists():
            (site / entry.name).symlink_to(entry)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def wheels(words: str) -> subprocess.CompletedProcess[str]:
        command = [str(place / "bin" / "retrieval-gap"), *words.split()]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)

    found = subprocess.run(
        [python, "-c", "import retrieval_gap; print(retrieval_gap.__file__)"], cwd=folder, env=environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()).is_relative_to(site)
    told = wheels("bench scan")
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert "come with a checkout" in told.stderr
    for words in (
        GRID,
        "sweep demo --only arch=lstm --device cpu --workers 2 --csv demo.csv",
        "report --results demo.csv",
    ):
        told = wheels(words)
        assert told.returncode == 0, told.stderr
    assert wheels("plot fig2_istree --results demo.csv").returncode == 0
    assert (folder / "out" / "fig2_istree.png").exists()
