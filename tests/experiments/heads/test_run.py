"""Runs of heads are done once, resume bit for bit, and are told apart by what they mean."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.experiments.heads.compare import TABLE_COLUMNS, conditions, table_rows, to_lines
from retrieval_gap.experiments.heads.config import COLUMNS, HeadsConfig
from retrieval_gap.heads.saved import Saved
from retrieval_gap.llm.embeddings import store
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions, read_experiment
from retrieval_gap.runs.known import known_runs
from retrieval_gap.runs.pack import pack
from retrieval_gap.runs.perform import perform
from retrieval_gap.runs.unpack import unpack
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.containment import PATIENCE
from tests.heads.own_head import own_head
from tests.llm.embeddings.tiny import save

INCIDENTAL = ("wall_s", "commit")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save("bert", tmp_path_factory.mktemp("bert")))


def _config(folder: str, **changes: Any) -> HeadsConfig:
    tiny: dict[str, Any] = {
        "dataset": "which_came_first", "model": folder, "head": "gru", "n": 16, "samples": 40, "test_samples": 20,
        "parameters": 9000, "lr": "1e-3,1e-2", "steps": 20, "evaluate_every": 5, "batch_size": 8,
    }  # fmt: skip
    return HeadsConfig(**tiny | changes)


def _options(folder: Path) -> RunOptions:
    return RunOptions(runs_dir=folder, threads=1, checkpoint_seconds=0)


def _run(config: HeadsConfig, folder: Path) -> dict[str, Any]:
    (row,) = perform(config, _options(folder))
    return {key: value for key, value in row.items() if key not in INCIDENTAL}


def _table(folder: Path) -> list[dict[str, Any]]:
    found, troubles = conditions(known_runs(folder))
    assert not troubles
    return table_rows(found)


def _die_at_save(monkeypatch: pytest.MonkeyPatch, saves: int) -> None:
    """Kills a run right after that many saves."""
    write, left = Saved.write, [saves]

    def dies(saved: Saved, path: Path) -> None:
        write(saved, path)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(Saved, "write", dies)


def test_a_run_is_done_once_and_its_row_has_every_column(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = _run(_config(model), tmp_path)
    assert set(row) == set(COLUMNS) - set(INCIDENTAL)
    assert 0 <= row["score_low"] <= row["score"] <= row["score_high"] <= 1
    assert (row["majority"], row["bag_of_words"], row["first_token"]) == (0.5, 0.5, 0.5)
    monkeypatch.delattr(store, "StateReader")
    monkeypatch.setattr(Saved, "write", lambda *_: pytest.fail("trained again"))
    assert _run(_config(model), tmp_path) == row


def test_all_heads_share_the_states_that_were_read_once(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(_config(model, head="mean"), tmp_path)
    monkeypatch.delattr(store, "StateReader")
    for change in ({"head": "gru"}, {"head": "lstm", "seed": 1}, {"head": "gru", "control": "shuffle_states"}):
        _run(_config(model, **change), tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize(("tune", "saves"), [(False, 1), (False, 4), (False, 6), (True, 3), (True, 7)])
def test_a_killed_run_resumes_to_the_same_row(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tune: bool, saves: int
) -> None:
    config = _config(model, tune=tune, tune_lr=1e-3)
    whole = _run(config, tmp_path / "whole")
    _die_at_save(monkeypatch, saves)
    with pytest.raises(KeyboardInterrupt):
        perform(config, _options(tmp_path / "killed"))
    run = RunDirectory.of(config, tmp_path / "killed")
    assert run.status() == "partial"
    assert config.progress(run).done > 0
    assert _run(config, tmp_path / "killed") == whole


@pytest.mark.faults
@pytest.mark.parametrize("saves", [2, 6])
def test_a_killed_run_resumes_elsewhere_from_its_checkpoint_to_the_same_row(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    config = _config(model)
    whole = _run(config, tmp_path / "whole")
    here, there = (RunDirectory.of(config, tmp_path / name) for name in ("here", "there"))
    for folder, kill_at in ((here, saves), (there, 1)):
        with monkeypatch.context() as patched:
            _die_at_save(patched, kill_at)
            with pytest.raises(KeyboardInterrupt):
                perform(config, _options(folder.path.parent))
    pack(tmp_path / "p.tar", here.path.parent, "")
    unpack(tmp_path / "p.tar", there.path.parent)  # replaces a run with less progress
    assert there.checkpoint.read_bytes() == here.checkpoint.read_bytes()
    assert config.checkpoint(there) == (there.checkpoint, config.checkpoint(here)[1])
    begun = Saved.read(there.checkpoint)
    told = _run(config, there.path.parent)
    assert begun.step or begun.rate
    assert told == whole
    first = json.loads(there.metrics.read_text().splitlines()[len(here.reports())])
    assert first["step"] > config.checkpoint(here)[1]


def test_a_damaged_checkpoint_is_not_packed(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(model)
    _die_at_save(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        perform(config, _options(tmp_path / "runs"))
    run = RunDirectory.of(config, tmp_path / "runs")
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:-1])
    with pytest.raises(RunError, match="is damaged"):
        pack(tmp_path / "p.tar", tmp_path / "runs", "")


@pytest.mark.parametrize(
    ("kind", "change"),
    [("t5", {"half": "encoder"}), ("t5", {"half": "decoder"}), ("llama", {"copies": 2}), ("mamba", {})],
)
def test_a_run_finishes_on_every_kind_of_model(kind: str, change: dict[str, Any], tmp_path: Path) -> None:
    folder = str(save(kind, tmp_path / "model"))
    row = _run(_config(folder, **change), tmp_path / "runs")
    assert (row["half"], row["copies"]) == (change.get("half", "encoder"), change.get("copies", 1))


def test_a_configuration_is_read_back_from_its_file(model: str, tmp_path: Path) -> None:
    config = _config(model, control="shuffle_states", window=4)
    _run(config, tmp_path)
    assert RunDirectory.of(config, tmp_path).experiment() == config
    assert read_experiment(config.to_json(), "here") == config


def test_the_hash_depends_on_the_weights_and_not_on_their_folder(model: str, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(model, copy)
    other = save("bert", tmp_path / "other", seed=1)
    assert _config(str(copy)).hash() == _config(model).hash()
    assert _config(str(other)).hash() != _config(model).hash()


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1}, {"head": "lstm"}, {"head": "gru+pool=max"}, {"control": "shuffle_words"}, {"layer": 0}, {"n": 17},
        {"control": "shuffle_states"}, {"parameters": 4000}, {"lr": "1e-3"}, {"copies": 2}, {"text_seed": 1},
        {"tune": True},
    ],
)  # fmt: skip
def test_a_setting_that_changes_the_result_changes_the_hash(model: str, change: dict[str, Any]) -> None:
    assert _config(model, **change).hash() != _config(model).hash()


def test_the_models_learning_rate_counts_only_if_the_model_is_trained(model: str) -> None:
    assert _config(model, tune_lr=1e-3).hash() == _config(model).hash()
    assert _config(model, tune=True, tune_lr=1e-3).hash() != _config(model, tune=True).hash()


def test_equal_rates_written_differently_are_the_same_run(model: str) -> None:
    assert _config(model, lr="0.001,0.01").hash() == _config(model).hash()


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"dataset": "which_came_frist"}, TaskError, "did you mean 'which_came_first'"),
        ({"head": "bigur"}, UsageError, "did you mean 'bigru'"),
        ({"model": "./absent"}, UsageError, "no such folder"),
        ({"lr": "fast"}, UsageError, "expected numbers such as 1e-3,3e-3"),
        ({"lr": "3"}, UsageError, "between 0 and 1"),
        ({"copies": 3}, UsageError, "expected 1 or 2"),
        ({"n": 15}, TaskError, "outside 16..512"),
        ({"steps": 0}, UsageError, "steps = 0 is out of range"),
        ({"dataset": "copa"}, TaskError, "--data"),
        ({"parameters": 10}, UsageError, "cannot have 10 parameters"),
    ],
)
def test_settings_that_would_make_a_run_fail_are_refused_before_it(
    model: str, change: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as told:
        _config(model, **change).validate()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"window": 4}, "window = 4 is of a shuffle"),
        ({"control": "shuffle_states", "window": 1}, "window = 1 shuffles nothing"),
        ({"seed": -1}, "seed = -1 is out of range"),
        ({"tune_lr": 0.0}, "tune-lr = 0.0 is out of range"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(model: str, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _config(model, **change)


@pytest.mark.parametrize(("key", "value"), [("heads", "gru"), ("n", "16"), ("control", "shuffle")])
def test_a_configuration_file_with_a_wrong_key_or_value_is_refused(model: str, key: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"here: .*{key}"):
        HeadsConfig.from_json({"dataset": "topic", "model": model, "head": "gru"} | {key: value}, "here")


def test_heads_are_compared_with_attention_and_with_shuffled_states(model: str, tmp_path: Path) -> None:
    for seed in (0, 1):
        for change in ({"head": "gru"}, {"head": "attention"}, {"head": "gru", "control": "shuffle_states"}):
            _run(_config(model, seed=seed, **change), tmp_path)
    rows = _table(tmp_path)
    told = {(row["head"], row["control"], row["versus"]) for row in rows}
    assert told == {
        ("attention", "none", ""),
        ("gru", "none", "head attention"),
        ("gru", "none", "shuffled states"),
        ("gru", "shuffle_states", ""),
    }
    for row in rows:
        assert set(row) <= set(TABLE_COLUMNS)
        assert row["seeds"] == 2
        if row["versus"]:
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]
            assert row["p"] <= row["p_holm"] <= 1
    assert len(to_lines(rows)) == len(rows)


def test_a_tuned_model_is_compared_with_the_frozen_one_under_the_same_head(model: str, tmp_path: Path) -> None:
    frozen, tuned = (_run(_config(model, tune=tune), tmp_path) for tune in (False, True))
    assert (frozen["parameters"], frozen["tune_lr"]) == (tuned["parameters"], None)
    assert tuned["tune_lr"] == 5e-5
    told = {(row["tune_lr"], row["versus"]) for row in _table(tmp_path)}
    assert told == {(None, ""), (5e-5, "frozen model")}


def test_each_place_of_the_deciding_sentence_has_its_own_row(model: str, tmp_path: Path) -> None:
    _run(_config(model, dataset="negation_scope", n=64, head="mean", test_samples=40), tmp_path)
    rows = _table(tmp_path)
    whole = next(row for row in rows if row["place"] == "")
    parts = [row for row in rows if row["place"] != ""]
    assert sum(row["test_examples"] for row in parts) == whole["test_examples"]
    assert sum(row["test_examples"] * row["score"] for row in parts) == pytest.approx(
        whole["test_examples"] * whole["score"]
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (lambda told: {"name": []}, "does not have the run's 20 examples"),
        (lambda told: told | {"numerator": ["x"] * 20}, "holds an invalid count"),
        (lambda told: told | {"numerator": [7] * 20}, "holds an invalid count"),
        (lambda told: told | {"numerator": [1 - n for n in told["numerator"]]}, "gives a score of .*, and the run's"),
    ],
)
def test_damaged_examples_are_reported_and_the_other_runs_are_compared(
    changed: Callable[[dict[str, Any]], dict[str, Any]], told: str, model: str, tmp_path: Path
) -> None:
    config = _config(model, head="mean")
    for each in (config, _config(model, head="attention")):
        _run(each, tmp_path)
    path = RunDirectory.of(config, tmp_path).path / "examples.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()))))
    found, troubles = conditions(known_runs(tmp_path))
    assert [condition.config.head for condition in found.values()] == ["attention"]
    assert len(troubles) == 1
    assert re.search(rf"examples.json {told}.*; delete it", troubles[0])


def test_a_run_with_a_damaged_configuration_is_reported(model: str, tmp_path: Path) -> None:
    config = _config(model, head="mean")
    _run(config, tmp_path)
    RunDirectory.of(config, tmp_path).configuration.write_text("{")
    found, (trouble,) = conditions(known_runs(tmp_path))
    assert not found
    assert "config.json" in trouble


def test_two_versions_of_a_users_head_are_two_heads(model: str, tmp_path: Path) -> None:
    head = own_head(tmp_path)
    runs = tmp_path / "runs"
    _run(_config(model, head=str(head), seed=0), runs)
    head.write_text(head.read_text() + "\n# another\n")
    for seed in (0, 1):
        _run(_config(model, head=str(head), seed=seed), runs)
    assert sorted(row["seeds"] for row in _table(runs)) == [1, 2]
    head.unlink()
    assert sorted(row["seeds"] for row in _table(runs)) == [1, 2]


def test_a_moved_model_is_the_same_model_and_a_changed_one_is_another(model: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = Path(shutil.copytree(model, tmp_path / "first"))
    for head in ("mean", "attention"):
        _run(_config(str(first), head=head), runs)
    first.rename(tmp_path / "moved")
    (row,) = (row for row in _table(runs) if row["head"] == "mean")
    assert (row["versus"], row["seeds"]) == ("head attention", 1)
    shutil.copytree(model, first)
    vocabulary = first / "tokenizer.json"
    vocabulary.write_text(vocabulary.read_text() + "\n")
    _run(_config(str(first), head="mean", seed=1), runs)
    assert [row["seeds"] for row in _table(runs) if row["head"] == "mean"] == [1, 1]


def test_heads_trained_differently_have_rows_of_their_own_and_are_not_compared(model: str, tmp_path: Path) -> None:
    _run(_config(model, head="mean"), tmp_path)
    _run(_config(model, head="attention", steps=10), tmp_path)
    assert {(row["head"], row["steps"], row["versus"]) for row in _table(tmp_path)} == {
        ("mean", 20, ""),
        ("attention", 10, ""),
    }


def test_a_single_seed_is_compared_without_a_p_value(model: str, tmp_path: Path) -> None:
    for head in ("mean", "attention"):
        _run(_config(model, head=head), tmp_path)
    (row,) = (row for row in _table(tmp_path) if row["versus"])
    assert (row["p"], row["p_holm"]) == (None, None)


def test_a_head_that_ignores_order_scores_the_same_on_shuffled_states(model: str, tmp_path: Path) -> None:
    plain = _config(model, head="attention")
    shuffled = replace(plain, control="shuffle_states")
    one, other = (_run(config, tmp_path)["score"] for config in (plain, shuffled))
    assert one == pytest.approx(other, abs=0.05)


@pytest.mark.parametrize("place", ["made", "then"])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("os._exit(0)", r"os\._exit\(0\) is called"),
        ("while True: pass", "own fails: .*is not done after 3 s"),
        ("raise ValueError('no')", "own fails: .*own.py:.*no"),
    ],
)
def test_a_users_head_that_exits_hangs_or_fails_is_reported(
    place: str, line: str, told: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_head(tmp_path, **{place: line})
    monkeypatch.setenv(PATIENCE, "3" if "while" in line else "60")
    with pytest.raises((UsageError, SystemExit), match=told):
        _config(model, head=str(path)).validate()


def test_a_head_that_cannot_be_built_on_meta_tensors_is_reported_in_one_line(model: str, tmp_path: Path) -> None:
    path = own_head(tmp_path, made="self.scale = float(torch.ones(3).sum())")
    with pytest.raises(UsageError, match=r"head own fails: .*own.py:\d+: .*on meta tensors") as told:
        _config(model, head=str(path)).validate()
    assert "\n" not in str(told.value)


def test_a_parameter_that_no_score_depends_on_is_refused_before_a_run(model: str, tmp_path: Path) -> None:
    path = own_head(tmp_path, made="self.spare = nn.Linear(3, 3)")
    with pytest.raises(UsageError, match=r"head own: no score depends on the parameter spare.weight and 1 more; leave"):
        _config(model, head=str(path)).validate()
    path = own_head(tmp_path, made="self.spare = nn.Parameter(torch.ones(3), requires_grad=False)")
    frozen = _config(model, head=str(path))
    frozen.validate()
    assert _run(frozen, tmp_path / "runs")["head"] == "own"


def test_a_head_with_dropout_runs_and_gives_the_same_row_each_time(model: str, tmp_path: Path) -> None:
    path = own_head(tmp_path, made="self.drop = nn.Dropout(0.5)", features="self.drop(self.project(states))")
    config = _config(model, head=str(path))
    config.validate()
    assert _run(config, tmp_path / "one") == _run(config, tmp_path / "other")


def test_a_head_with_a_buffer_that_training_changes_is_refused(model: str, tmp_path: Path) -> None:
    features = "self.norm(self.project(states).transpose(1, 2)).transpose(1, 2)"
    path = own_head(tmp_path, made="self.norm = nn.BatchNorm1d(shape.width)", features=features)
    with pytest.raises(UsageError, match=r"head own: training changes its buffer norm.running_mean, and only param"):
        _config(model, head=str(path)).validate()
