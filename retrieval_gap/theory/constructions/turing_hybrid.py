"""A Turing machine run by recurrent layers and one attention layer (theorem 5.8), one token per step of the machine.

The prompt holds the input's symbols; every step writes the transition that it makes, one of finitely many tokens:

    [BOS] 1 0 1 [EOS] right,1>1R,right right,0>0R,right ... [EOS] [TRUE]

| layer | what it writes |
|---|---|
| feed-forward | of the token: the symbol that it writes on the tape, where the head goes, the state it leads to |
| recurrence | the head, and where it was one token ago: the cell that this token wrote |
| attention | the symbol of the latest token that wrote to the cell under the head; none: the cell is blank |
| feed-forward | which symbol; the transition of this state on it, or `[EOS]` if there is none |

Source: "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), theorem 5.8.

Axes: B samples, L positions.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import BOS, CONTROL_TOKENS, EOS, FALSE, TRUE, Batch, Mode, Task, TaskConfig
from retrieval_gap.theory.constructions.attention import BOS_FLAG, POSITION, Lookup
from retrieval_gap.theory.constructions.construction import Construction
from retrieval_gap.theory.constructions.control import is_token, number_of, rules
from retrieval_gap.theory.constructions.feed_forward import Units, at_least_one, is_zero, square, times
from retrieval_gap.theory.constructions.machines import MachineRun, Transition, TuringMachine
from retrieval_gap.theory.constructions.precision import Precision
from retrieval_gap.theory.constructions.program import ANSWER, Program
from retrieval_gap.theory.constructions.recurrence import Register
from retrieval_gap.theory.constructions.residual_stream import Affine, direction, number, square_of

SYMBOL_0 = len(CONTROL_TOKENS)
_MOVES = {-1: "L", 0: "S", 1: "R"}


class WriteTask(Task):
    """The run of a machine on a word, for at most `max_steps` steps.  All samples are the same.

    Raises UsageError for a symbol with the spelling of a control token.
    """

    name: ClassVar[str] = "turing"
    modes: ClassVar[tuple[Mode, ...]] = ("cot",)
    n_range: ClassVar[tuple[int, int]] = (0, 1 << 30)

    def __init__(self, machine: TuringMachine, word: str, max_steps: int) -> None:
        self.machine, self.word, self.max_steps = machine, machine.word(word), max_steps
        super().__init__(TaskConfig(n=len(self.word), mode="cot"))
        if taken := set(machine.symbols).intersection(CONTROL_TOKENS):
            raise UsageError(f"{machine.name}: symbol {min(taken)!r} is spelled as a control token; rename it")

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        words = dict.fromkeys([*CONTROL_TOKENS, *self.machine.symbols])
        for step in self.steps.values():
            word = _spelled(step)
            while word in words:  # names with commas: two steps may have the same spelling
                word += "'"
            words[word] = None
        return tuple(words)

    @cached_property
    def steps(self) -> dict[int, tuple[str, str, Transition]]:
        """The transitions by token."""
        first = SYMBOL_0 + len(self.machine.symbols)
        transitions = enumerate(self.machine.transitions.items(), first)
        return {token: (state, symbol, transition) for token, ((state, symbol), transition) in transitions}

    @property
    def answers(self) -> tuple[int, ...]:
        return (TRUE, FALSE)

    @property
    def max_length(self) -> int:
        """Length of `[BOS]`, the input, `[EOS]`, the steps, `[EOS]` and the verdict."""
        return len(self.word) + self.max_steps + 4

    @cached_property
    def prompt(self) -> list[int]:
        return [BOS, *(SYMBOL_0 + self.machine.symbols.index(symbol) for symbol in self.word), EOS]

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        """The run, once for each index.  Raises ValueError if it does not end within `max_steps`."""
        tokens_L = np.array([*self.prompt, *self._run()], np.int32)
        batch, length = len(index_B), len(tokens_L)
        return Batch(
            tokens_BxL=np.tile(tokens_L, (batch, 1)),
            loss_mask_BxL=np.tile(np.arange(length) >= len(self.prompt), (batch, 1)),
            prompt_len_B=np.full(batch, len(self.prompt), np.int32),
            length_B=np.full(batch, length, np.int32),
            answer_B=np.full(batch, tokens_L[-1], np.int32),
        )

    def _run(self) -> list[int]:
        machine, cells, head, state = self.machine, dict(enumerate(self.word)), 0, self.machine.start
        tokens = {(state, symbol): token for token, (state, symbol, _) in self.steps.items()}
        written: list[int] = []
        while (token := tokens.get((state, cells.get(head, machine.blank)))) is not None:
            if len(written) == self.max_steps:
                raise ValueError(f"{machine.name} does not halt within {self.max_steps} steps")
            transition = self.steps[token][2]
            written.append(token)
            state, cells[head] = transition.state, transition.write
            head += transition.move
        return [*written, EOS, TRUE if state in machine.accepting else FALSE]

    def outcome(self, tokens_L: Sequence[int] | NDArray[np.int32], answer: int) -> MachineRun:
        """The end of a run, read from its text.  answer: its answer token, another number if it has none."""
        cells, head, steps = dict(enumerate(self.word)), 0, 0
        for token in tokens_L:
            if int(token) in self.steps and steps < self.max_steps:
                transition = self.steps[int(token)][2]
                cells[head] = transition.write
                head, steps = head + transition.move, steps + 1
        return MachineRun(self.machine.spelled(cells), steps, answer in self.answers, answer == TRUE)


def _spelled(step: tuple[str, str, Transition]) -> str:
    state, symbol, transition = step
    return f"{state},{symbol}>{transition.write}{_MOVES[transition.move]},{transition.state}"


def _read(program: Program, task: WriteTask) -> None:
    """What the token writes, and where."""
    machine, steps = task.machine, task.steps
    symbols = [SYMBOL_0 + place for place in range(len(machine.symbols))]

    def of_steps(what: Callable[[Transition], float]) -> Units:
        return sum((is_token(token) * what(step[2]) for token, step in steps.items()), Units(()))

    def leading_to(state: str) -> Units:
        return of_steps(lambda step: float(step.state == state))

    started = {state: is_token(EOS) if state == machine.start else Units(()) for state in machine.states}
    program.feed_forward(
        {
            BOS_FLAG: is_token(BOS),
            "is_end": is_token(EOS),
            # Symbols are numbered from 1.
            "written": sum((is_token(token) * (token - SYMBOL_0 + 1.0) for token in symbols), Units(()))
            + of_steps(lambda step: machine.symbols.index(step.write) + 1.0),
            "is_write": sum(map(is_token, [*symbols, *steps]), Units(())),
            "move": sum(map(is_token, symbols), Units(())) + of_steps(lambda step: float(step.move)),
            **{f"in_{state}": started[state] + leading_to(state) for state in machine.states},
        },
        "of the token: what it writes, where the head goes, the state that it leads to",
    )
    head, accepts = direction("head"), sum((direction(f"in_{state}") for state in machine.accepting), Affine())
    program.recur(
        {
            POSITION: Register(direction(POSITION), add=1.0 - direction(BOS_FLAG)),
            "head": Register(head, ((direction("is_end"), -head),), direction("move")),
            "wrote_at": Register(head),
            "ends": Register(direction("ends"), add=direction("is_end")),
            "accepted": Register(gated=((direction("is_end"), direction("accepted")),), add=accepts),
        },
        "the head, the cell that this token wrote, whether the machine was in an accepting state",
    )
    program.feed_forward({square_of(n): square(direction(n)) for n in ("head", "wrote_at")}, "their squares")


def _step(program: Program, task: WriteTask) -> None:
    """The symbol under the head, and what the machine does."""
    machine = task.machine
    look_up = [(number("head"), number("wrote_at"))]
    program.attend(
        [Lookup({"read": direction("written")}, look_up, direction("is_write"), "latest")],
        "the symbol that was last written to the cell under the head",
    )
    on = {f"on_{symbol}": is_zero(direction("read") - (k + 1.0)) for k, symbol in enumerate(machine.symbols)}
    blank = f"on_{machine.blank}"
    on[blank] = on[blank] + is_zero(direction("read"))
    program.feed_forward(
        on | {"is_over": is_zero(direction("ends") - 2.0), "is_accepted": at_least_one(direction("accepted"))},
        "which symbol is it?  Is the run over?",
    )

    def table(value: Callable[[int], float]) -> Units:
        steps = task.steps.items()
        return rules([(value(token), (direction(f"in_{q}"), direction(f"on_{s}"))) for token, (q, s, _) in steps])

    program.feed_forward({"step": table(number_of), "goes_on": table(lambda _: 1.0)}, "the machine's table")
    onward = direction("step") + (1.0 - direction("goes_on")) * number_of(EOS)
    verdict = direction("is_accepted") * (TRUE - FALSE) + number_of(FALSE)
    over = direction("is_over")
    program.feed_forward({ANSWER: times(onward, 1.0 - over) + times(verdict, over)}, "the next step, or the end")


def build_turing_hybrid(task: WriteTask, precision: Precision) -> Construction:
    """The task's machine as weights.  Its stated precision depends on the number of steps that it may take."""
    program = Program(task.max_length, precision, positions=False)
    _read(program, task)
    _step(program, task)
    largest = max(len(task.vocabulary), len(task.word) + task.max_steps + 4)
    return Construction(program, "5.8", len(task.vocabulary), largest)
