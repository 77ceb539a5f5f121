"""The configuration of every experiment refuses a value that does not fit its field, from Python or from a file."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from retrieval_gap.experiments.constructions.config import OnMachine, OnTask
from retrieval_gap.experiments.heads.config import HeadsConfig
from retrieval_gap.experiments.hotpotqa_llm.experiment import HotpotQARun
from retrieval_gap.experiments.memories.cell import MemoryCell
from retrieval_gap.experiments.probe import Probe
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.transfer import Transfer
from retrieval_gap.llm.config import LLMConfig, LocalConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.text_memory.settings import Settings

GIVEN: dict[Callable[..., Any], dict[str, Any]] = {
    RunConfig: {"task": "index", "mode": "direct", "n": 8, "arch": "lstm", "size": "tiny"},
    HeadsConfig: {"dataset": "topic", "model": "none", "head": "mean"},
    MemoryCell: {"benchmark": "recall", "method": "zero_shot"},
    OnTask: {"how": "transformer", "task": "istree", "n": 8},
    OnMachine: {"how": "hybrid", "machine": "copy", "word": "01"},
    Probe: {"run_dir": "", "run": "", "run_hash": "", "trained": 0},
    Transfer: {"run_dir": "", "run": "", "run_hash": "", "trained": 0},
    HotpotQARun: {"model": LLMConfig(model="m"), "data": "d"},
    Settings: {},
    LLMConfig: {"model": "m"},
    LocalConfig: {},
}


@pytest.mark.parametrize(
    ("kind", "field", "value", "told"),
    [
        (RunConfig, "embedding", "sinusodial", "unknown embedding 'sinusodial' .*; did you mean 'sinusoidal'"),
        (RunConfig, "precision", "foo", r"unknown precision 'foo' \(choose from fp32, tf32, bf16\)"),
        (RunConfig, "eval_split", "tset", "did you mean 'test'"),
        (RunConfig, "mode", "rga", "did you mean 'rag'"),
        (RunConfig, "n", "8", "n = '8' is invalid: expected a whole number"),
        (RunConfig, "n", 8.0, "n = 8.0 is invalid"),
        (RunConfig, "n", True, "n = True is invalid"),
        (RunConfig, "samples", 640.0, "samples = 640.0 is invalid"),
        (RunConfig, "lr", "1e-3", "lr = '1e-3' is invalid: expected a number"),
        (RunConfig, "curriculum", 4, "curriculum = 4 is invalid: expected a text"),
        (RunConfig, "curriculum", None, "curriculum = None is invalid"),
        (HeadsConfig, "control", "shuffle_wrods", "did you mean 'shuffle_words'"),
        (HeadsConfig, "samples", "8", "samples = '8' is invalid"),
        (HeadsConfig, "lr", 1e-3, "lr = 0.001 is invalid: expected a text"),
        (HeadsConfig, "tune", 1, "tune = 1 is invalid: expected True or False"),
        (MemoryCell, "streams", "5", "streams = '5' is invalid"),
        (MemoryCell, "settings", {"budget": 8}, "settings = .* is invalid: expected Settings"),
        (MemoryCell, "model", "smollm2", "model = 'smollm2' is invalid: expected LLMConfig or None"),
        (OnTask, "samples", 2.0, "samples = 2.0 is invalid"),
        (OnMachine, "max_steps", "9", "max_steps = '9' is invalid"),
        (Probe, "rounding", "neerest", "did you mean 'nearest'"),
        (Probe, "retriever", "slow", "retriever = 'slow' is invalid"),
        (Transfer, "trained", "0", "trained = '0' is invalid"),
        (HotpotQARun, "method", "cto", "did you mean 'cot'"),
        (HotpotQARun, "questions", "5", "questions = '5' is invalid"),
        (Settings, "budget", "256", "budget = '256' is invalid"),
        (Settings, "feedback", "turth", "did you mean 'truth'"),
        (LLMConfig, "context_limit", "9", "context_limit = '9' is invalid"),
        (LocalConfig, "precision", "fp8", "unknown precision 'fp8'"),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_refused_with_what_was_expected(
    kind: Callable[..., Any], field: str, value: object, told: str
) -> None:
    kind(**GIVEN[kind])
    with pytest.raises(UsageError, match=told):
        kind(**GIVEN[kind] | {field: value})


def test_a_whole_number_fits_a_number_and_numpys_numbers_become_pythons() -> None:
    made = RunConfig(**GIVEN[RunConfig] | {"max_grad_norm": 1, "n": np.int64(8), "lr": np.float32(0.5)})
    assert (made.max_grad_norm, made.n, made.lr) == (1, 8, 0.5)
    assert (type(made.n), type(made.lr)) == (int, float)


def test_missing_and_unknown_keys_are_errors_that_name_the_file() -> None:
    whole = RunConfig(task="index", mode="direct", n=8, arch="lstm", size="tiny").to_json()
    assert RunConfig.from_json(whole, "config.json").to_json().items() >= whole.items()
    with pytest.raises(UsageError, match=r"config\.json: n missing"):
        RunConfig.from_json({key: value for key, value in whole.items() if key != "n"}, "config.json")
    with pytest.raises(UsageError, match=r"config\.json: unknown key 'sede' .*did you mean 'seed'"):
        RunConfig.from_json(whole | {"sede": 1}, "config.json")
    with pytest.raises(UsageError, match=r"config\.json: n = '8' is invalid"):
        RunConfig.from_json(whole | {"n": "8"}, "config.json")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"settings": {"bugdet": 8}}, r"config\.json: settings: unknown key 'bugdet' .*did you mean 'budget'"),
        ({"settings": {"budget": "8"}}, r"config\.json: settings: budget = '8' is invalid"),
        ({"settings": {"budget": 0}}, r"config\.json: settings: --budget 0 is out of range"),
        ({"settings": 3}, r"config\.json: settings: expected an object, got 3"),
        ({"settings": None}, r"config\.json: settings = None is invalid: expected Settings"),
        ({"model": {}}, r"config\.json: model: model missing"),
    ],
)
def test_a_nested_configuration_is_read_too_and_its_errors_name_its_place(changed: dict[str, Any], told: str) -> None:
    for model in (None, LLMConfig(model="m")):
        cell = MemoryCell(benchmark="recall", method="zero_shot", model=model, settings=Settings(budget=8))
        whole = {name: value for name, value in cell.to_json().items() if name != "kind"}
        assert MemoryCell.from_json(whole, "config.json") == cell
        with pytest.raises(UsageError, match=told):
            MemoryCell.from_json(whole | changed, "config.json")
