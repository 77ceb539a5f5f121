import re

import numpy as np
import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.decoding.decode import Decoded, decode
from retrieval_gap.decoding.retrieval import RetrieverName, make_retriever
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.theory.constructions import Precision
from retrieval_gap.theory.constructions.machines import MachineRun, TuringMachine, load_machine, read_machine
from retrieval_gap.theory.constructions.turing_rnn import build_turing
from retrieval_gap.theory.constructions.turing_text import GIVES, LAST, TOKENS_A_STEP, MachineTask
from tests.theory.constructions.checks import assert_causal_and_stepwise


def run(task: MachineTask, bits: int | None = -1, retriever: RetrieverName = "fast") -> tuple[MachineRun, Decoded]:
    """The construction's run and what it decoded; `bits` -1: the stated bits."""
    bits = build_turing(task, Precision()).stated_precision if bits == -1 else bits
    decoded = decode(
        build_turing(task, Precision(bits)),
        np.array([task.prompt], np.int32),
        np.array([len(task.prompt)], np.int32),
        answers=task.answers,
        max_length=task.max_length,
        retriever=make_retriever(task, retriever),
    )
    return task.outcome(decoded.tokens_BxL[0, : decoded.length_B[0]], int(decoded.answer_B[0])), decoded


def by_hand(machine: TuringMachine, word: str, max_steps: int) -> MachineRun:
    """The run of an independent simulator, whose tape is two stacks, left and right of the head."""
    left, right = [], list(reversed(word))
    state, steps = machine.start, 0
    rule = None
    while True:
        seen = right[-1] if right else machine.blank
        rule = machine.transitions.get((state, seen))
        if rule is None or steps == max_steps:
            break
        if right:
            right.pop()
        right.append(rule.write)
        if rule.move == 1:
            left.append(right.pop())
        elif rule.move == -1:
            right.append(left.pop() if left else machine.blank)
        state, steps = rule.state, steps + 1
    tape = "".join(left + right[::-1]).strip(machine.blank)
    return MachineRun(tape, steps, rule is None, rule is None and state in machine.accepting)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("binary_increment", "1011"),
        ("binary_increment", "111"),
        ("palindrome", "abba"),
        ("palindrome", "abb"),
        ("palindrome", ""),
        ("balanced_brackets", "(())()"),
        ("balanced_brackets", "())"),
        ("copy", "ab"),
    ],
)
def test_machines_run_to_the_end_with_the_exact_trace(name, word):
    task = MachineTask(load_machine(name), word, 100)
    outcome, decoded = run(task)
    gold = task.sample(np.arange(1))
    assert outcome == by_hand(task.machine, word, 100)
    assert outcome.halted
    assert decoded.tokens_BxL[0, : decoded.length_B[0]].tolist() == gold.tokens_BxL[0].tolist()


@pytest.mark.parametrize("retriever", ["fast", "regex"])
def test_the_busy_beaver_of_4_states_takes_107_steps_and_leaves_13_ones(retriever):
    outcome, decoded = run(MachineTask(load_machine("busy_beaver_4"), "", 150), retriever=retriever)
    assert (outcome.steps, outcome.tape.count("1"), outcome.halted) == (107, 13, True)
    assert decoded.length_B[0] == 2 + 1 + 107 * TOKENS_A_STEP + 2


@st.composite
def machines(draw: st.DrawFn) -> TuringMachine:
    """Random machines of up to 5 states and 2 or 3 symbols, some of their transitions missing."""
    symbols = ["_", "0", "1"][: draw(st.integers(2, 3))]
    states = [f"s{k}" for k in range(draw(st.integers(1, 5)))]
    after = st.sampled_from([*states, *states, "yes", "no"])
    lines = [
        f"{state} {symbol} -> {draw(st.sampled_from(symbols))} {draw(st.sampled_from('LSR'))} {draw(after)}"
        for state in states
        for symbol in symbols
        if draw(st.integers(0, 9))
    ]
    lines += [f"{state} _ -> _ S no" for state in states if not any(line.startswith(f"{state} ") for line in lines)]
    told = {
        "start": "s0",
        "halting": ["yes", "no"],
        "accepting": ["yes"],
        "blank": "_",
        "symbols": symbols,
        "transitions": lines,
    }
    return read_machine(told, "random", "here")


@st.composite
def runs(draw: st.DrawFn) -> tuple[TuringMachine, str]:
    machine = draw(machines())
    return machine, draw(st.text(alphabet=machine.symbols[1:], max_size=6))


def agree(machine: TuringMachine, word: str, steps: int) -> None:
    outcome, _ = run(MachineTask(machine, word, steps))
    assert outcome == by_hand(machine, word, steps)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(runs())
def test_random_machines_run_as_in_a_simulator(drawn):
    agree(*drawn, 40)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(runs())
def test_random_machines_run_as_in_a_simulator_for_200_steps(drawn):
    agree(*drawn, 200)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(runs())
def test_both_retrievers_lead_to_the_same_run(drawn):
    task = MachineTask(*drawn, 25)
    (_, fast), (_, regex) = run(task, retriever="fast"), run(task, retriever="regex")
    assert np.array_equal(fast.tokens_BxL, regex.tokens_BxL)


@pytest.mark.parametrize("engine", [re, re2], ids=["re", "re2"])
def test_the_search_finds_the_last_write_and_without_its_greedy_beginning_the_first(engine):
    text = "[BOS] @3 <- a @13 <- c @-3 <- d [EOS] q:s @3 <- b q:t"
    assert engine.search(f"{LAST}@3{GIVES}", text).group(1) == "b"
    assert engine.search(rf"\s@3{GIVES}", text).group(1) == "a"
    assert engine.search(f"{LAST}@-3{GIVES}", text).group(1) == "d"
    assert engine.search(f"{LAST}@1{GIVES}", text) is None


def test_fewer_bits_than_the_cell_numbers_need_fail():
    task = MachineTask(load_machine("busy_beaver_4"), "", 150)
    stated = build_turing(task, Precision()).stated_precision
    assert run(task, stated)[0] == by_hand(task.machine, "", 150)
    assert run(task, stated - 8)[0] != by_hand(task.machine, "", 150)


def test_state_grows_like_the_logarithm_of_the_time_and_weights_not_at_all():
    machine = load_machine("copy")
    bits, counts = [], set()
    times = [2**k for k in range(5, 13)]
    for steps in times:
        task = MachineTask(machine, "ab", steps)
        stated = build_turing(task, Precision()).stated_precision
        construction = build_turing(task, Precision(stated))
        bits.append(construction.state_bits(3))
        counts.add(construction.parameter_count())
    numbers = construction.state_bits(3) // stated
    assert numbers == 4
    assert 0 < np.polyfit(np.log2(times), bits, 1)[0] <= 2.5 * numbers
    assert len(counts) == 1


def test_it_is_causal_and_steps_equal_the_forward_pass():
    task = MachineTask(load_machine("palindrome"), "abba", 20)
    assert_causal_and_stepwise(build_turing(task, Precision(32)), task, change=60)


def test_a_changed_table_of_transitions_changes_the_trace():
    task = MachineTask(load_machine("binary_increment"), "11", 40)
    construction = build_turing(task, Precision())
    (row,) = [k for k, layer in enumerate(construction.layers) if "writes" in layer.writes]
    construction.parts[row].down_NxH[construction.layers[row].writes.index("writes")] *= 1.5
    decoded = decode(
        construction,
        np.array([task.prompt], np.int32),
        np.array([len(task.prompt)], np.int32),
        answers=task.answers,
        max_length=task.max_length,
        retriever=make_retriever(task),
    )
    gold = task.sample(np.arange(1)).tokens_BxL[0]
    assert decoded.tokens_BxL[0, : decoded.length_B[0]].tolist() != gold.tolist()


def test_a_symbol_spelled_as_another_token_is_refused():
    told = {
        "start": "A",
        "halting": ["H"],
        "accepting": ["H"],
        "blank": "_",
        "symbols": ["_", "<-"],
        "transitions": ["A _ -> <- R H"],
    }
    with pytest.raises(UsageError, match="'<-' is spelled"):
        MachineTask(read_machine(told, "arrow", "here"), "", 5)


def test_a_run_that_does_not_end_has_no_trace():
    machine = load_machine("busy_beaver_4")
    with pytest.raises(ValueError, match="does not halt within 100 steps"):
        MachineTask(machine, "", 100).sample(np.arange(1))
    assert not run(MachineTask(machine, "", 100))[0].halted
