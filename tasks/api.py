"""What a task is: a pure function from sample numbers to token traces, and the searches its traces ask for.

Axes: B samples of a batch, L positions of the longest one.

A task lives in one file (or one folder) of this package, or in a user's own file. It samples *problems*,
writes each as one *trace*, and shows the trace in one of the views `direct`, `cot`, `rag`.  Two rules hold
for all:

* sample *i* is a pure function of (configuration, i): batch size, order, workers and machine do not matter;
* a problem belongs to one split by its own hash, so splits are disjoint by construction.
"""

import abc
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Mode = Literal["direct", "cot", "rag"]
Split = Literal["train", "validation", "test"]

# The control tokens come first, so that their numbers are the same for every task and problem size.
CONTROL_TOKENS = ("[PAD]", "[BOS]", "[EOS]", "[TRUE]", "[FALSE]", "[STARTSEARCH]", "[ENDSEARCH]", "[FAILED]")
PAD, BOS, EOS, TRUE, FALSE, STARTSEARCH, ENDSEARCH, FAILED = range(len(CONTROL_TOKENS))


class TaskError(ValueError):
    """A configuration that no sample can be drawn from; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What, with a sample's number, decides the sample.

    n: problem size, as the paper counts it (nodes of a graph, tokens of a sequence).
    family: the distribution of problems; "" means the task's first.
    seed: any integer in [0, 2**63).
    """

    n: int
    mode: Mode = "direct"
    family: str = ""
    split: Split = "train"
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """Right-padded traces.  A token at position t is predicted from the tokens before t.

    tokens_BxL: int32, `PAD` past a sample's end.
    loss_mask_BxL: bool, true where the model is graded: no prompt, no retriever's answer, no padding.
    prompt_len_B: int32, tokens given to the model.
    length_B: int32, tokens in all.
    answer_B: int32, the gold answer's token (also the last token of the trace).
    """

    tokens_BxL: NDArray[np.int32]
    loss_mask_BxL: NDArray[np.bool_]
    prompt_len_B: NDArray[np.int32]
    length_B: NDArray[np.int32]
    answer_B: NDArray[np.int32]


class Task(abc.ABC):
    """Base of all tasks.  A subclass sets the class variables, builds its vocabulary and writes `sample`.

    Raises TaskError for a configuration outside what the class variables allow.
    """

    name: ClassVar[str]
    modes: ClassVar[tuple[Mode, ...]]
    families: ClassVar[tuple[str, ...]] = ("default",)
    n_range: ClassVar[tuple[int, int]]

    def __init__(self, config: TaskConfig) -> None:
        smallest, largest = self.n_range
        if not smallest <= config.n <= largest:
            raise TaskError(f"{self.name}: n = {config.n} is outside {smallest}..{largest}")
        _check_choice(self.name, "mode", config.mode, self.modes)
        _check_choice(self.name, "split", config.split, get_args(Split))
        if config.family:
            _check_choice(self.name, "family", config.family, self.families)
        if not 0 <= config.seed < 2**63:
            raise TaskError(f"{self.name}: seed = {config.seed} is outside 0..2**63-1")
        self.config = config
        self.family = config.family or self.families[0]

    @property
    @abc.abstractmethod
    def vocabulary(self) -> tuple[str, ...]:
        """Spelling of each token number; begins with `CONTROL_TOKENS`; depends on n alone."""

    @property
    @abc.abstractmethod
    def answers(self) -> tuple[int, ...]:
        """Tokens that decide a sample: decoding stops at the first of them that the model itself writes."""

    @property
    @abc.abstractmethod
    def max_length(self) -> int:
        """Tokens of the longest trace this configuration can produce, prompt and answer included."""

    @abc.abstractmethod
    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        """The samples of these numbers, in this order."""

    def search_pattern(self, query: Sequence[str]) -> str | None:
        """The RE2 pattern that `query` (token spellings between the search brackets) stands for.

        It is run on the space-joined text before the search's `[STARTSEARCH]`.  The first of its groups that
        took part in the match is the result; no match, no such group or no such token: `[FAILED]`.  None: a
        malformed query, `[FAILED]` too.
        The default takes the query itself as the pattern, its tokens joined without spaces.
        """
        return "".join(query)

    def fast_search(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """The result token of the search that ends at `length_B` (`[ENDSEARCH]` its last token), per sample.

        The same answers as running `search_pattern`, without text.  None where a task has no such shortcut.
        """
        return None


def _check_choice(task: str, what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"{task}: unknown {what} {value!r} (choose from {', '.join(allowed)}){hint}")
