"""A Turing machine's run as text: a task with one problem, so that the decoder and the retrievers work as for any task.

The tape is a list of writes that is only appended to: `@3 <- 1` means that cell 3 holds 1 from now on.  The input is
the first writes, from cell 0 on.  The machine's start state follows; a step of the machine is a search for the last
write to the cell under the head, a write to that cell, and the new state:

    [BOS] @0 <- 1 @1 <- 1 [EOS] q:to_end
    [STARTSEARCH] ^.*\\s @0 \\s<-\\s(\\S+) [ENDSEARCH] 1  @0 <- 1 q:to_end
    [STARTSEARCH] ^.*\\s @1 \\s<-\\s(\\S+) [ENDSEARCH] 1  @1 <- 1 q:to_end  ...  q:done [EOS] [TRUE]

A cell that was never written gives `[FAILED]`, which is read as a blank.  The greedy `.*` makes the match the *last*
write; a pattern without it finds the first, so the machine would never see its own writes.  The query in the proof of
theorem 5.4 in "RNNs are not Transformers (Yet)" lacks it.

Axes: B samples, L positions.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import (
    BOS,
    CONTROL_TOKENS,
    ENDSEARCH,
    EOS,
    FAILED,
    FALSE,
    STARTSEARCH,
    TRUE,
    Batch,
    Mode,
    Task,
    TaskConfig,
)
from retrieval_gap.theory.constructions.machines import MachineRun, TuringMachine

LAST, GIVES, WRITE = r"^.*\s", r"\s<-\s(\S+)", "<-"
LAST_TOKEN = len(CONTROL_TOKENS)
GIVES_TOKEN, WRITE_TOKEN, SYMBOL_0 = LAST_TOKEN + 1, LAST_TOKEN + 2, LAST_TOKEN + 3
TOKENS_A_STEP = 10
TOKENS_TO_HALT = 8  # at most: a search whose answer has no transition, [EOS], the verdict


class MachineTask(Task):
    """The run of a machine on a word, for at most `max_steps` steps.  All samples are the same.

    Raises UsageError for a symbol with the spelling of another token.
    """

    name: ClassVar[str] = "turing"
    modes: ClassVar[tuple[Mode, ...]] = ("rag",)
    n_range: ClassVar[tuple[int, int]] = (0, 1 << 30)

    def __init__(self, machine: TuringMachine, word: str, max_steps: int) -> None:
        self.machine, self.word, self.max_steps = machine, machine.word(word), max_steps
        super().__init__(TaskConfig(n=len(self.word), mode="rag"))
        self.state_0 = SYMBOL_0 + len(machine.symbols)
        self.farthest = max(max_steps, len(self.word))
        self.cell_0 = self.state_0 + len(machine.states) + self.farthest
        if len(set(self.vocabulary)) < len(self.vocabulary):
            taken = next(s for s in machine.symbols if self.vocabulary.count(s) > 1)
            raise UsageError(f"{machine.name}: symbol {taken!r} is spelled as another token of the text; rename it")

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        cells = (f"@{cell}" for cell in range(-self.farthest, self.farthest + 1))
        states = (f"q:{state}" for state in self.machine.states)
        return (*CONTROL_TOKENS, LAST, GIVES, WRITE, *self.machine.symbols, *states, *cells)

    @property
    def answers(self) -> tuple[int, ...]:
        return (TRUE, FALSE)

    @property
    def max_length(self) -> int:
        return len(self.prompt) + 1 + TOKENS_A_STEP * self.max_steps + TOKENS_TO_HALT

    @cached_property
    def prompt(self) -> list[int]:
        """The input, as writes."""
        writes = (token for cell, symbol in enumerate(self.word) for token in self.write(cell, symbol))
        return [BOS, *writes, EOS]

    def write(self, cell: int, symbol: str) -> list[int]:
        """The tokens of a write."""
        return [self.cell_0 + cell, WRITE_TOKEN, self.symbol_token(symbol)]

    def symbol_token(self, symbol: str) -> int:
        return SYMBOL_0 + self.machine.symbols.index(symbol)

    def state_token(self, state: str) -> int:
        return self.state_0 + self.machine.states.index(state)

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        """The run, once for each index.  Raises ValueError if it does not end within `max_steps`."""
        batch, target = len(index_B), self._run()
        tokens_L = np.array([*self.prompt, *target], np.int32)
        loss_mask_L = np.arange(len(tokens_L)) >= len(self.prompt)
        loss_mask_L[1:] &= tokens_L[:-1] != ENDSEARCH
        return Batch(
            tokens_BxL=np.tile(tokens_L, (batch, 1)),
            loss_mask_BxL=np.tile(loss_mask_L, (batch, 1)),
            prompt_len_B=np.full(batch, len(self.prompt), np.int32),
            length_B=np.full(batch, len(tokens_L), np.int32),
            answer_B=np.full(batch, tokens_L[-1], np.int32),
        )

    def _run(self) -> list[int]:
        machine, cells, head = self.machine, dict(enumerate(self.word)), 0
        state, written = machine.start, [self.state_token(machine.start)]
        for _ in range(self.max_steps + 1):
            if state in machine.halting:
                return [*written, EOS, TRUE if state in machine.accepting else FALSE]
            found = self.symbol_token(cells[head]) if head in cells else FAILED
            written += [STARTSEARCH, LAST_TOKEN, self.cell_0 + head, GIVES_TOKEN, ENDSEARCH, found]
            transition = machine.transitions.get((state, cells.get(head, machine.blank)))
            if transition is None:
                return [*written, EOS, FALSE]
            state, cells[head] = transition.state, transition.write
            written += [*self.write(head, transition.write), self.state_token(state)]
            head += transition.move
        raise ValueError(f"{machine.name} does not halt within {self.max_steps} steps")

    def fast_search(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32]:
        rows = zip(np.asarray(tokens_BxL), length_B, strict=True)
        return np.array([_last_write(tokens_L[:length]) for tokens_L, length in rows], np.int32)

    def outcome(self, tokens_L: Sequence[int] | NDArray[np.int32], answer: int) -> MachineRun:
        """The end of a run, read from its text.  answer: its answer token, another number if it has none."""
        cells: dict[int, str] = {}
        is_write = [t for t in range(1, len(tokens_L) - 1) if tokens_L[t] == WRITE_TOKEN]
        for t in is_write:
            cells[int(tokens_L[t - 1]) - self.cell_0] = self.vocabulary[tokens_L[t + 1]]
        steps = len(is_write) - len(self.word)
        return MachineRun(self.machine.spelled(cells), steps, answer in self.answers, answer == TRUE)


def _last_write(tokens_L: NDArray[np.int32]) -> int:
    """The symbol last written to the cell of the search at the end of these tokens; FAILED if there is none."""
    if len(tokens_L) < 5 or tuple(tokens_L[[-5, -4, -2, -1]]) != (STARTSEARCH, LAST_TOKEN, GIVES_TOKEN, ENDSEARCH):
        return FAILED
    before_L = tokens_L[:-5]
    write_W = np.flatnonzero((before_L[1:-2] == tokens_L[-3]) & (before_L[2:-1] == WRITE_TOKEN))
    return int(before_L[write_W[-1] + 3]) if len(write_W) else FAILED
