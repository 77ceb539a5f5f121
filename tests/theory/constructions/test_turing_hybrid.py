"""Turing machines run by a recurrence and one attention layer."""

import numpy as np
import pytest
from hypothesis import given, settings

from retrieval_gap.decoding.decode import Decoded, decode
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.theory.constructions import Precision
from retrieval_gap.theory.constructions.attention import LookupAttention
from retrieval_gap.theory.constructions.machines import (
    MachineRun,
    TuringMachine,
    load_machine,
    machine_names,
    read_machine,
    simulate,
)
from retrieval_gap.theory.constructions.recurrence import Recurrence
from retrieval_gap.theory.constructions.turing_hybrid import WriteTask, build_turing_hybrid
from tests.theory.constructions.checks import assert_causal_and_stepwise
from tests.theory.constructions.test_turing_rnn import by_hand, runs

WORDS = {
    "binary_increment": ["1011", "111", ""],
    "palindrome": ["abba", "abb", "", "aabbaabbaa"],
    "balanced_brackets": ["(())()", "())", ")("],
    "copy": ["ab", "abba"],
    "busy_beaver_4": [""],
}


def run(task: WriteTask, less: int = 0) -> tuple[MachineRun, Decoded]:
    """The construction's run and what it decoded, with `less` bits per number fewer than stated."""
    stated = build_turing_hybrid(task, Precision()).stated_precision
    decoded = decode(
        build_turing_hybrid(task, Precision(stated - less)),
        np.array([task.prompt], np.int32),
        np.array([len(task.prompt)], np.int32),
        answers=task.answers,
        max_length=task.max_length,
    )
    return task.outcome(decoded.tokens_BxL[0, : decoded.length_B[0]], int(decoded.answer_B[0])), decoded


@pytest.mark.parametrize(("name", "word"), [(name, word) for name in machine_names() for word in WORDS[name]])
def test_machines_run_to_the_end_with_the_exact_trace(name, word):
    task = WriteTask(load_machine(name), word, 200)
    outcome, decoded = run(task)
    gold = task.sample(np.arange(1))
    assert outcome == by_hand(task.machine, word, 200)
    assert outcome.halted
    assert decoded.tokens_BxL[0, : decoded.length_B[0]].tolist() == gold.tokens_BxL[0].tolist()


def test_each_step_of_the_machine_is_one_token():
    outcome, decoded = run(WriteTask(load_machine("busy_beaver_4"), "", 150))
    assert (outcome.steps, outcome.tape.count("1"), outcome.halted) == (107, 13, True)
    assert decoded.length_B[0] == 2 + 107 + 2


def agree(machine: TuringMachine, word: str, steps: int) -> None:
    assert run(WriteTask(machine, word, steps))[0] == by_hand(machine, word, steps)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(runs())
def test_random_machines_run_as_in_a_simulator(drawn):
    agree(*drawn, 60)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(runs())
def test_random_machines_run_as_in_a_simulator_for_200_steps(drawn):
    agree(*drawn, 200)


def test_a_run_that_does_not_end_is_not_halted_and_has_no_trace():
    task = WriteTask(load_machine("busy_beaver_4"), "", 100)
    outcome, _ = run(task)
    assert (outcome.steps, outcome.halted) == (100, False)
    with pytest.raises(ValueError, match="does not halt within 100 steps"):
        task.sample(np.arange(1))


def test_fewer_bits_than_the_positions_need_fail():
    task = WriteTask(load_machine("busy_beaver_4"), "", 150)
    assert run(task, 0)[0] == by_hand(task.machine, "", 150)
    assert run(task, 14)[0] != by_hand(task.machine, "", 150)


def test_it_has_five_registers_for_any_time_and_one_attention_layer_above_them():
    numbers, counts = set(), set()
    for steps in (100, 1_000, 10_000):
        task = WriteTask(load_machine("copy"), "ab", steps)
        stated = build_turing_hybrid(task, Precision()).stated_precision
        model = build_turing_hybrid(task, Precision(stated))
        numbers.add(model.recurrent_bits() / stated)
        counts.add(model.parameter_count())
        assert stated <= 8 + 2 * (np.log2(steps) + 1) + 4
    kinds = [type(part) for part in model.parts if isinstance(part, LookupAttention | Recurrence)]
    assert (numbers, len(counts), kinds) == ({5.0}, 1, [Recurrence, LookupAttention])


def test_it_is_causal_and_steps_equal_the_forward_pass():
    task = WriteTask(load_machine("palindrome"), "abba", 50)
    assert_causal_and_stepwise(build_turing_hybrid(task, Precision(32)), task, change=9)


def test_a_changed_table_of_transitions_changes_the_trace():
    task = WriteTask(load_machine("binary_increment"), "11", 40)
    model = build_turing_hybrid(task, Precision())
    (table,) = [k for k, layer in enumerate(model.layers) if "step" in layer.writes]
    model.parts[table].down_NxH[0] *= 1.5
    decoded = decode(
        model,
        np.array([task.prompt], np.int32),
        np.array([len(task.prompt)], np.int32),
        answers=task.answers,
        max_length=task.max_length,
    )
    assert decoded.tokens_BxL[0, : decoded.length_B[0]].tolist() != task.sample(np.arange(1)).tokens_BxL[0].tolist()


def test_a_symbol_spelled_as_another_token_is_refused():
    told = {
        "start": "A",
        "halting": ["H"],
        "accepting": ["H"],
        "blank": "_",
        "symbols": ["_", "[EOS]"],
        "transitions": ["A _ -> [EOS] R H"],
    }
    with pytest.raises(UsageError, match=r"'\[EOS\]' is spelled"):
        WriteTask(read_machine(told, "end", "here"), "", 5)


def test_steps_spelled_alike_get_different_tokens_and_a_control_token_is_no_symbol():
    told = {"start": "a", "halting": ["h"], "accepting": ["h"], "blank": "_", "symbols": ["_", "b,c", "c"]}
    transitions = ["a b,c -> c R a,b", "a,b c -> c R a,b"]
    machine = read_machine(told | {"transitions": transitions}, "commas", "here")
    task = WriteTask(machine, "b,c c", 10)
    assert task.vocabulary[-2:] == ("a,b,c>cR,a,b", "a,b,c>cR,a,b'")
    assert run(task)[0] == simulate(machine, ["b,c", "c"], 10) == MachineRun("c c", 2, True, False)
    control = read_machine(told | {"start": "h", "symbols": ["_", "[EOS]"], "transitions": []}, "control", "here")
    with pytest.raises(UsageError, match=r"symbol '\[EOS\]' is spelled as a control token"):
        WriteTask(control, "_", 10)
