"""`retrieval-gap construct` writes rows, runs machines, explains layers, and gives one line for every wrong use."""

import csv
import io
import json
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from tests.commands.test_cli import failure

WRONG_USES = [
    ("construct", "name a task"),
    ("construct indx --how transformer --n 8", "did you mean 'index'"),
    ("construct index --n 8", "--how is missing"),
    ("construct index --how rnn --n 8", "did you mean 'rnn_rag'"),
    ("construct istree --how transformer --n 8", "did you mean 'transformer_cot'"),
    ("construct index --how transformer", "--n is missing"),
    ("construct index --how transformer --n 8,x", "--n 8,x"),
    ("construct index --how transformer --n 1", "n = 1 is outside 2..1000"),
    ("construct index --how rnn_rag --n 2000", "RE2 repeats a group at most 1000 times"),
    ("construct index --how transformer --n 16 --samples 0", "--samples 0"),
    ("construct index --how transformer --n 16 --precision 3", "stated, exact or 10 to 48"),
    ("construct index --how transformer --n 16 --precision few", "--precision few"),
    ("construct index --how transformer --n 16 --c 3", "--c"),
    ("construct istree --how transformer_cot --n 16 --family two_stars", "did you mean 'two_star'"),
    ("construct quantised_lstm --how transformer_cot --n 400", "n = 400 is outside"),
    ("construct turing", "--machine is missing"),
    ("construct turing --machine palindrom", "did you mean 'palindrome'"),
    ("construct turing --machine absent.json", "absent.json cannot be read"),
    ("construct turing --machine palindrome --input abc", "input symbol 'c' (place 3)"),
    ("construct turing --machine palindrome --input a --how transformer", "choose from rnn_rag, hybrid"),
    ("construct turing --machine palindrome --input a --max-steps 0", "--max-steps 0"),
    ("construct turing --machine palindrome --input a --csv a.csv", "`construct turing` has no --csv"),
    ("construct index --how transformer --n 8 --machine palindrome", "belong to `construct turing`"),
]


def rows_of(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.read_text())))


@pytest.mark.parametrize(("argv", "said"), WRONG_USES, ids=[argv for argv, _ in WRONG_USES])
def test_wrong_use_is_one_line_and_exits_with_2(argv: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, told = failure(argv.split(), capsys)
    assert status == 2
    assert said in told


@pytest.mark.parametrize("how", ["transformer", "hybrid", "rnn_rag"])
@pytest.mark.parametrize("task", ["index", "associative_recall", "cgram_retrieval", "counting"])
def test_constructions_are_exact_and_their_rows_count_the_bits_of_their_tensors(
    task: str, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "a.csv"
    assert main(f"construct {task} --how {how} --n 16,256 --samples 10 --csv {table}".split()) == 0
    assert "2 rows written" in capsys.readouterr().out
    small, large = rows_of(table)
    for row in (small, large):
        assert (row["accuracy"], row["exact_trace"], row["samples"]) == ("1.0", "1.0", "0")
        assert (row["arch"], row["task"], row["eval_split"]) == (f"constructed_{how}", task, "test")
        assert int(row["parameter_bits"]) == int(row["parameters"]) * int(row["precision_bits"])
        assert row["precision_bits"] == row["stated_bits"]
        assert row["smallest_bits"] == ""
    assert small["parameters"] == large["parameters"]
    searching = how == "rnn_rag"
    assert (int(large["state_bits"]) < 2 * int(small["state_bits"])) == searching
    assert (int(large["recurrent_bits"]) == 0) == (how == "transformer")


def test_a_tasks_own_options_are_flags_and_change_the_hash_of_a_row(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    hashes = set()
    for c in (2, 3):
        assert main(f"construct cgram_retrieval --how hybrid --n 32 --c {c} --samples 5 --csv {table}".split()) == 0
        (row,) = rows_of(table)
        assert row["options"] == f"c={c} values=16"
        hashes.add(row["config_hash"])
    assert len(hashes) == 2


def test_the_fewest_bits_are_measured_on_request_and_too_few_are_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "a.csv"
    assert main(f"construct index --how transformer --n 32 --samples 20 --smallest --csv {table}".split()) == 0
    (row,) = rows_of(table)
    smallest, stated = int(row["smallest_bits"]), int(row["stated_bits"])
    assert stated - 6 <= smallest <= stated
    capsys.readouterr()
    assert main(f"construct index --how transformer --n 32 --samples 40 --precision {smallest - 3}".split()) == 0
    told = capsys.readouterr().out
    assert "fewer bits a number than stated: index, n = 32" in told
    assert "1.000" not in told
    assert main("construct index --how transformer --n 32 --samples 5 --precision exact".split()) == 0
    assert "64" in capsys.readouterr().out


def test_the_hybrids_chain_of_thought_counts_as_a_trace_of_its_own(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    assert main(f"construct istree --how hybrid_cot --n 8 --samples 10 --csv {table}".split()) == 0
    (row,) = rows_of(table)
    assert (row["accuracy"], row["exact_trace"], row["mode"]) == ("1.0", "1.0", "cot")
    assert float(row["steps"]) > 8 * 8


@pytest.mark.parametrize("how", ["rnn_rag", "hybrid"])
def test_the_busy_beaver_prints_its_tape_and_agrees_with_a_simulator(
    how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["construct", "turing", "--machine", "busy_beaver_4", "--input", "", "--how", how]) == 0
    told = capsys.readouterr().out
    assert "steps           107, accepted" in told
    assert "symbols         13 x 1" in told
    assert "simulator       agrees" in told


def test_a_users_own_machine_is_read_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {
        "start": "flip",
        "halting": ["done"],
        "accepting": [],
        "blank": "_",
        "symbols": ["_", "0", "1"],
        "transitions": ["flip 0 -> 1 R flip", "flip 1 -> 0 R flip", "flip _ -> _ S done"],
    }
    path = tmp_path / "flip.json"
    path.write_text(json.dumps(told))
    assert main(["construct", "turing", "--machine", str(path), "--input", "0110", "--how", "hybrid"]) == 0
    out = capsys.readouterr().out
    assert "tape            1001" in out
    assert "steps           5, halted, not accepted" in out


def test_a_run_that_stops_early_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["construct", "turing", "--machine", "busy_beaver_4", "--max-steps", "20", "--how", "hybrid"]
    assert main(argv) == 0
    assert "steps           20, stopped before it halts (--max-steps)" in capsys.readouterr().out


def test_the_list_names_constructions_and_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["construct", "--list"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "  istree               hybrid_cot       5.7" in told
    assert any(line.startswith("  busy_beaver_4 ") and "107 steps" in line for line in told)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("index --how transformer", ["attention: the token at the position asked for", "next token"]),
        ("istree --how transformer_cot", ["has the tour been there?", "visited", "father"]),
        ("istree --how hybrid_cot", ["place in a frame", "frame_0"]),
        ("counting --how rnn_rag", ["clock"]),
        ("turing --machine palindrome --input ab --how rnn_rag", ["the machine's table", "goes_on"]),
        ("turing --machine palindrome --input ab --how hybrid", ["the machine's table", "wrote_at"]),
    ],
)
def test_explanations_name_every_direction_of_every_layer(
    argv: str, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    size = [] if argv.startswith("turing") else ["--n", "8"]
    assert main(f"construct --explain {argv}".split() + size) == 0
    told = capsys.readouterr().out
    for words in expected:
        assert words in told
    last = told.splitlines()[-1]
    written = next(line for line in told.splitlines() if line.startswith("written")).split()[1:]
    assert last.split()[:2] == ["next", "token"]
    assert last.split()[2] == written[0]
