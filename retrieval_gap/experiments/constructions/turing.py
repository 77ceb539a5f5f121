"""A Turing machine run by a construction: its tape, its cost, and a comparison with an ordinary simulator."""

from collections.abc import Iterator

import numpy as np

from retrieval_gap.choices import RetrieverName
from retrieval_gap.decoding.decode import UNDECIDED, decode
from retrieval_gap.decoding.retrieval import make_retriever
from retrieval_gap.experiments.constructions.config import OnMachine
from retrieval_gap.machine.errors import RunError
from retrieval_gap.theory.constructions.machines import MachineRun, TuringMachine, load_machine


def report(setup: OnMachine, retriever: RetrieverName | None = None) -> Iterator[str]:
    """Lines of text.  Raises RunError after the last line if the simulator disagrees."""
    task, model, machine = setup.build_task(), setup.build(), load_machine(setup.machine)
    prompt_len_B = np.array([len(task.prompt)], np.int32)
    decoded = decode(
        model,
        np.array([task.prompt], np.int32),
        prompt_len_B,
        answers=task.answers,
        max_length=task.max_length,
        retriever=make_retriever(task, retriever) if task.config.mode == "rag" else None,
    )
    length = int(decoded.length_B[0])
    found = task.outcome(decoded.tokens_BxL[0, :length], int(decoded.answer_B[0]))
    said = setup.outcome()
    yield f"{machine.name}: {machine.about}" if machine.about else machine.name
    yield f"by {setup.how} (theorem {model.theorem}) on {setup.word or 'the empty word'}"
    yield f"tape            {found.tape or '(blank)'}"
    yield f"symbols         {_counted(found, machine)}"
    yield f"steps           {found.steps:,}, {_ending(found, int(decoded.answer_B[0]))}"
    yield f"context         {length:,} tokens, {length - len(task.prompt):,} of them written"
    yield f"state           {model.state_bits(length):,} bits, {model.recurrent_bits():,} of them in recurrent layers"
    bits, stated = model.precision.number_bits, model.stated_precision
    told = f"{bits} bits ({stated} are stated{', so these may not be enough' if bits < stated else ''})"
    yield f"a number        {told}"
    yield f"parameters      {model.parameter_count():,}, {model.parameter_bits():,} bits"
    agrees = found == said
    yield f"simulator       {'agrees' if agrees else f'does not agree: {said}'}"
    if not agrees:
        raise RunError(f"{machine.name} on {setup.word!r}: the construction and the simulator do not agree")


def _counted(outcome: MachineRun, machine: TuringMachine) -> str:
    cells = machine.symbols_of(outcome.tape)
    counts = [f"{cells.count(symbol)} x {symbol}" for symbol in dict.fromkeys(cells) if symbol != machine.blank]
    return ", ".join(counts) or "none but blanks"


def _ending(outcome: MachineRun, answer: int) -> str:
    if answer == UNDECIDED:
        return "stopped before it halts (--max-steps)"
    return "accepted" if outcome.accepted else "halted, not accepted"
