"""A random LSTM whose state has few bits, and the trace of a Transformer that simulates it (theorem 4.8).

The LSTM is one layer of `models/lstm.py`, in float64, with larger random weights than at the start of training, so that
its outputs vary.  After each token, h and c are rounded to the nearest of an odd number of levels in [-1, 1] and
[-2, 2]; a state is the numbers of these levels.  The LSTM reads a word of n letters, then writes n letters, each of
which it reads next.

The trace has a block for each letter that the LSTM reads: the state after it, one token per element, then the letter
that the LSTM writes.  `[TRUE]` follows the last block.  An example with 2 state elements (h, c):

    [BOS] b a [EOS]  h:5 c:9 a  h:6 c:12 b  h:5 c:8 b [TRUE]

Axes: B samples, N letters of a word, S state elements, T letters read.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrieval_gap.models import ModelConfig, SequenceModel
from retrieval_gap.models.lstm import LSTM
from retrieval_gap.models.mixer import State
from retrieval_gap.tasks.api import (
    BOS,
    CONTROL_TOKENS,
    EOS,
    TRUE,
    Batch,
    Mode,
    Task,
    TaskConfig,
    TaskError,
    TaskOptions,
    check_option,
)
from retrieval_gap.tasks.recall import letters

LETTER_0 = len(CONTROL_TOKENS)
RANGES = {"h": 1.0, "c": 2.0}  # value of the highest level
_LARGER = 4.0  # factor on the weights that training starts from


@dataclass(frozen=True, kw_only=True)
class LstmOptions(TaskOptions):
    """hidden: number of units, each with an h and a c.  letters: size of the alphabet.  levels: number of levels of an
    element, odd.  weights: seed of the LSTM's weights."""

    hidden: int = 3
    letters: int = 6
    levels: int = 15
    weights: int = 0


class QuantisedLSTM:
    """The LSTM, step by step; a `StepModel` over letters."""

    def __init__(self, options: LstmOptions) -> None:
        shape = LSTM(d_model=options.hidden + 1, n_layers=1, d_hidden=options.hidden)
        config = ModelConfig(architecture=shape, vocab_size=options.letters, embedding="learned", seed=options.weights)
        self.model, self.levels = SequenceModel(config).double(), options.levels
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.mul_(_LARGER)
                parameter.clamp_(-_LARGER, _LARGER)  # for the forget gates' biases, which are set for long texts

    @property
    def device(self) -> torch.device:
        return self.model.device

    def prefill(self, tokens_BxL: Tensor) -> tuple[Tensor, State]:
        state = self.model.init_state(len(tokens_BxL))
        for token_B in tokens_BxL.T:
            logits_BxV, state = self.step(token_B, state)
        return logits_BxV, state

    @torch.no_grad()
    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]:
        logits_BxV, ((h_BxH, c_BxH),) = self.model.step(token_B, state)
        return logits_BxV, ((self._nearest(h_BxH, RANGES["h"]), self._nearest(c_BxH, RANGES["c"])),)

    def level(self, x: Tensor, largest: float) -> Tensor:
        """The number of the nearest level, counted from 0."""
        half = (self.levels - 1) / 2
        return (x * (half / largest) + half).clamp(0, self.levels - 1).round()

    def _nearest(self, x: Tensor, largest: float) -> Tensor:
        half = (self.levels - 1) / 2
        return (self.level(x, largest) - half) * (largest / half)


class LstmTask(Task):
    """Uniform words of n letters; the trace is the LSTM's run on them.  Nothing is trained on them, so all splits have
    the same words.

    Raises TaskError for an even number of levels.
    """

    name: ClassVar[str] = "quantised_lstm"
    modes: ClassVar[tuple[Mode, ...]] = ("cot",)
    n_range: ClassVar[tuple[int, int]] = (2, 128)
    options_type: ClassVar[type[TaskOptions]] = LstmOptions
    options: LstmOptions

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        self.lstm = QuantisedLSTM(self.options)

    def settle(self, options: LstmOptions, n: int) -> LstmOptions:
        check_option(self.name, "hidden", options.hidden, 1, 16)
        check_option(self.name, "letters", options.letters, 2, 26)
        check_option(self.name, "levels", options.levels, 3, 255)
        if options.levels % 2 == 0:
            raise TaskError(f"{self.name}: levels = {options.levels} is even, and 0 is to be a level")
        return options

    @property
    def elements(self) -> list[tuple[str, int]]:
        """The state's elements, in the order of a block: h of each unit, then c of each."""
        return [(kind, unit) for kind in RANGES for unit in range(self.options.hidden)]

    @property
    def level_0(self) -> int:
        """The token of the first element's lowest level; each element has `levels` tokens in a row."""
        return LETTER_0 + self.options.letters

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        levels = (f"{kind}{unit}:{k}" for kind, unit in self.elements for k in range(self.options.levels))
        return (*CONTROL_TOKENS, *letters(self.options.letters), *levels)

    @property
    def answers(self) -> tuple[int, ...]:
        return (TRUE,)

    @property
    def guess(self) -> float:
        return 0.0

    @property
    def max_length(self) -> int:
        """The prompt, a block for each of the 2n - 1 letters read, `[TRUE]`."""
        return self.config.n + 3 + (2 * self.config.n - 1) * (len(self.elements) + 1)

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        n, batch = self.config.n, len(index_B)
        seeds = ([self.config.seed, self.config.n, int(index)] for index in index_B)
        word_BxN = np.stack([np.random.default_rng(seed).integers(0, self.options.letters, n) for seed in seeds])
        tokens_BxL = np.zeros((batch, self.max_length), np.int32)
        tokens_BxL[:, 0], tokens_BxL[:, n + 1], tokens_BxL[:, -1] = BOS, EOS, TRUE
        tokens_BxL[:, 1 : n + 1] = LETTER_0 + word_BxN
        tokens_BxL[:, n + 2 : -1] = self._blocks(torch.from_numpy(word_BxN))
        return Batch(
            tokens_BxL=tokens_BxL,
            loss_mask_BxL=np.tile(np.arange(self.max_length) >= n + 2, (batch, 1)),
            prompt_len_B=np.full(batch, n + 2, np.int32),
            length_B=np.full(batch, self.max_length, np.int32),
            answer_B=np.full(batch, TRUE, np.int32),
        )

    def _blocks(self, word_BxN: Tensor) -> NDArray[np.int64]:
        """The tokens of all blocks in order."""
        n, first = self.config.n, self.level_0
        state, written = self.lstm.model.init_state(len(word_BxN)), []
        token_B = word_BxN[:, 0]
        for t in range(2 * n - 1):
            logits_BxV, state = self.lstm.step(token_B, state)
            ((h_BxH, c_BxH),) = state
            level_BxS = torch.cat([self.lstm.level(h_BxH, RANGES["h"]), self.lstm.level(c_BxH, RANGES["c"])], 1)
            level_BxS = level_BxS.long() + first + self.options.levels * torch.arange(level_BxS.shape[1])
            output_B = logits_BxV.argmax(-1)
            written += [level_BxS, output_B[:, None] + LETTER_0]
            token_B = word_BxN[:, t + 1] if t + 1 < n else output_B
        return torch.cat(written, 1).numpy()
