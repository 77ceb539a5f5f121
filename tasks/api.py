"""What a task is: a pure function from sample numbers to token traces, and the searches its traces ask for.

Axes: B samples of a batch, L positions of the longest one, Q questions that a trace answers.

A task lives in one file (or one folder) of this package, or in a user's own file. It samples *problems*,
writes each as one *trace*, and shows the trace in one of the views `direct`, `cot`, `rag`.  Two rules hold
for all:

* sample *i* is a pure function of (configuration, i): batch size, order, workers and machine do not matter;
* a problem belongs to one split by its own hash, so splits are disjoint by construction.
"""

import abc
import difflib
import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

Mode = Literal["direct", "cot", "rag"]
Split = Literal["train", "validation", "test"]

# The control tokens come first, so that their numbers are the same for every task and problem size.
CONTROL_TOKENS = ("[PAD]", "[BOS]", "[EOS]", "[TRUE]", "[FALSE]", "[STARTSEARCH]", "[ENDSEARCH]", "[FAILED]")
PAD, BOS, EOS, TRUE, FALSE, STARTSEARCH, ENDSEARCH, FAILED = range(len(CONTROL_TOKENS))


class TaskError(ValueError):
    """A configuration that no sample can be drawn from; the message says what to change."""


# Metadata of an option that came after runs and samples without it: at its default it is not written down, so that
# these keep their names and their streams.
LEFT_OUT_BY_DEFAULT = {"left_out_by_default": True}


class DataFile(str):
    """An option that is the path of a file, "" for none.  What the file holds is part of a run's hash, its path not."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What a task lets one choose beside n.  A task's own subclass lists whole numbers, floats, words or a `DataFile`,
    with defaults; each is a flag on the command line, and is written `name=value` in `TaskConfig.options`, in the
    quotes of a shell where the value has spaces."""


class Passage(NamedTuple):
    """A piece of a context that a search can find: the text in which it looks, the tokens that it answers with."""

    text: str
    tokens: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What, with a sample's number, decides the sample.

    n: problem size, as the paper counts it (nodes of a graph, tokens of a sequence).
    family: the distribution of problems; "" means the task's first.
    seed: any integer in [0, 2**63).
    options: the task's own, such as "c=3 values=16"; what is not named keeps its default.
    """

    n: int
    mode: Mode = "direct"
    family: str = ""
    split: Split = "train"
    seed: int = 0
    options: str = ""


@dataclass(frozen=True)
class Batch:
    """Right-padded traces.  A token at position t is predicted from the tokens before t.

    tokens_BxL: int32, `PAD` past a sample's end.
    loss_mask_BxL: bool, true where the model is graded: no prompt, no retriever's answer, no padding.
    prompt_len_B: int32, tokens given to the model.
    length_B: int32, tokens in all.
    answer_B: int32, the gold answer's token, the last one where there are several (also the last token of the trace).
    """

    tokens_BxL: NDArray[np.int32]
    loss_mask_BxL: NDArray[np.bool_]
    prompt_len_B: NDArray[np.int32]
    length_B: NDArray[np.int32]
    answer_B: NDArray[np.int32]


class Task(abc.ABC):
    """Base of all tasks.  A subclass sets the class variables, builds its vocabulary and writes `sample`.

    size_flag: what the command line calls n for this task; `--n` always will do, and here allows all its names.
    options_type: the task's own options; they are `self.options`; `self.config.options` names every one but those
    `LEFT_OUT_BY_DEFAULT`.
    shared_options: those with a default by n that the smaller problems of a curriculum take from the run's own.
    open_answers: an answer is not one of `answers` but a text of any tokens (`answer_text`), which one of them ends.

    Raises TaskError for a configuration outside what the class variables allow.
    """

    name: ClassVar[str]
    modes: ClassVar[tuple[Mode, ...]]
    families: ClassVar[tuple[str, ...]] = ("default",)
    n_range: ClassVar[tuple[int, int]]
    size_flag: ClassVar[str] = "--n"
    options_type: ClassVar[type[TaskOptions]] = TaskOptions
    shared_options: ClassVar[tuple[str, ...]] = ()
    open_answers: ClassVar[bool] = False
    options: TaskOptions

    def __init__(self, config: TaskConfig) -> None:
        smallest, largest = self.n_range
        if not smallest <= config.n <= largest:
            raise TaskError(f"{self.name}: n = {config.n} is outside {smallest}..{largest} ({self.size_flag})")
        check_choice(self.name, "mode", config.mode, self.modes)
        check_choice(self.name, "split", config.split, get_args(Split))
        if config.family:
            check_choice(self.name, "family", config.family, self.families)
        if not 0 <= config.seed < 2**63:
            raise TaskError(f"{self.name}: seed = {config.seed} is outside 0..2**63-1")
        self.family = config.family or self.families[0]
        self.options = self.settle(read_options(self.name, self.options_type, config.options), config.n)
        self.config = replace(config, options=written_options(self.options))

    def settle(self, options: Any, n: int) -> Any:
        """The options with what depends on n filled in.  Raises TaskError for one that this n does not allow."""
        return options

    @property
    @abc.abstractmethod
    def vocabulary(self) -> tuple[str, ...]:
        """Spelling of each token number; begins with `CONTROL_TOKENS`; depends on n and the options alone."""

    @property
    def roles(self) -> tuple[str, ...]:
        """What each token stands for, at every n: the vocabulary, unless one word stands for different things at
        different n.  A model goes from one n to another by these names (`training.curriculum`)."""
        return self.vocabulary

    @property
    @abc.abstractmethod
    def answers(self) -> tuple[int, ...]:
        """Tokens that decide a sample: decoding stops at the first of them that the model itself writes."""

    @property
    @abc.abstractmethod
    def max_length(self) -> int:
        """Tokens of the longest trace this configuration can produce, prompt and answer included."""

    @property
    def unread(self) -> tuple[int, ...]:
        """Tokens that a model writes and does not read: it reads `[PAD]` in their place, so that an answer helps with
        none of the next."""
        return ()

    @property
    def questions(self) -> int:
        """How many answers a trace holds.  Behind each but the last stand the tokens that ask for the next one,
        if any; they carry no loss and are given while decoding."""
        return 1

    @property
    def guess(self) -> float:
        """What an undecided answer counts: a guess among all answers that there are; nothing where answers are open."""
        return 0.0 if self.open_answers else 1 / len(self.answers)

    @property
    def problems(self) -> int | None:
        """How many different problems the split has, where they are counted: the first so many samples have one each,
        and no more are evaluated.  None: they are not counted, and a small n may have few, each met often."""
        return None

    def to_evaluate(self, wanted: int) -> int:
        """How many samples are evaluated where so many are asked for: no problem twice, where they are counted."""
        return min(wanted, self.problems or wanted)

    @abc.abstractmethod
    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        """The samples of these numbers, in this order."""

    def answer_text(self, tokens_L: NDArray[np.int32]) -> str:
        """Of open answers: what a whole trace, gold or decoded, answers.  The same text is the same answer."""
        raise NotImplementedError(f"{self.name} has open_answers and no answer_text")

    def evidence(self, tokens_L: NDArray[np.int32]) -> Sequence[object]:
        """Of open answers: what of a whole trace has to be as in the gold one for the trace to count as exact."""
        return tokens_L.tolist()

    def described(self, tokens_L: NDArray[np.int32], index: int) -> dict[str, Any]:
        """What `retrieval-gap sample` prints of a problem beside its trace, by name; such as a graph's edges."""
        return {}

    @property
    def context_len(self) -> int | None:
        """Tokens of every prompt up to the end of its sequence, where the question begins and a state can be measured;
        None where a prompt asks nothing at its end."""
        return None

    def search_pattern(self, query: Sequence[str]) -> str | None:
        """The RE2 pattern that `query` (token spellings between the search brackets) stands for.

        It is run on the space-joined text before the search's `[STARTSEARCH]`.  The first of its groups that
        took part in the match is the result; no match, no such group or no such token: `[FAILED]`.  None: a
        malformed query, `[FAILED]` too.
        The default takes the query itself as the pattern, its tokens joined without spaces.
        """
        return "".join(query)

    def passages(self, context_L: NDArray[np.int32]) -> Sequence[Passage] | None:
        """The pieces, in order, in which a search of these tokens looks, where that is not their whole text.

        The pattern is run on each piece; the tokens of the first that it matches are the result.  `[FAILED]` where it
        matches none, or all of two and more: such a pattern says nothing of what is looked for.
        """
        return None

    def fast_search(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """The result token of the search that ends at `length_B` (`[ENDSEARCH]` its last token), per sample.

        The same answers as running `search_pattern`, without text.  None where a task has no such shortcut.
        """
        return None


T = TypeVar("T", bound=TaskOptions)
_PLAIN_NUMBER = re.compile(r"[-+.0-9A-Za-z]+")


def read_options(task: str, kind: type[T], text: str) -> T:
    """The options that `text`, such as "c=3 values=16", stands for.  Raises TaskError for what is none."""
    default: dict[str, Any] = {field.name: field.default for field in fields(kind)}
    given: dict[str, int | float | str] = {}
    for word in _option_words(task, text):
        name, _, value = word.partition("=")
        if name not in default:
            raise TaskError(f"{task}: unknown option {name!r} (it has {', '.join(default) or 'none'})")
        given[name] = _option_value(f"{task}: --{name}", type(default[name]), value)
    return kind(**given)


def _option_value(where: str, kind: type, text: str) -> Any:
    """Numbers are spelled in ASCII digits, without the underscores and blanks that Python allows."""
    if kind not in (int, float):
        return kind(text)
    try:
        if not _PLAIN_NUMBER.fullmatch(text):
            raise ValueError
        return kind(text)
    except ValueError:
        raise TaskError(f"{where} {text!r} is no {'whole number' if kind is int else 'number'}") from None


def _option_words(task: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise TaskError(f"{task}: a quote in its options, {text}, is not closed") from None


def written_options(options: TaskOptions, *, by_content: bool = False) -> str:
    """Every option as `name=value`, but for `LEFT_OUT_BY_DEFAULT`: the same text for the same options, however given.

    by_content: a file's SHA-256 stands in place of its path.  Raises TaskError for one that cannot be read.
    """
    words = []
    for field in fields(options):
        value = getattr(options, field.name)
        if field.metadata.get("left_out_by_default") and value == field.default:
            continue
        if by_content and isinstance(value, DataFile) and value:
            value = _hash_of(value)
        words.append(f"{field.name}={value}")
    return shlex.join(words)


def _hash_of(path: str) -> str:
    try:
        return "sha256:" + hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise TaskError(f"{path} cannot be read: {error.strerror}") from error


def check_option(task: str, name: str, value: float, smallest: float, largest: float) -> None:
    """Raises TaskError, naming the flag and its range, for a value that is outside."""
    if not smallest <= value <= largest:
        raise TaskError(f"{task}: --{name} {value} is outside {smallest}..{largest}")


def answers_of(batch: Batch, task: Task) -> NDArray[np.int32]:
    """The gold answers of each sample, in their order (BxQ).  Raises ValueError where they are not `task.questions`."""
    return batch.tokens_BxL[_is_answer(batch, task)].reshape(len(batch.tokens_BxL), task.questions)


def questions_of(batch: Batch, task: Task) -> NDArray[np.intp]:
    """Where each question stands in its sample's tokens (BxQx2: first position, past the last).

    The first is the prompt; a later one begins behind an answer and ends before the next graded token.
    """
    size, length = batch.tokens_BxL.shape
    question_BxQx2 = np.zeros((size, task.questions, 2), np.intp)
    question_BxQx2[:, 0, 1] = batch.prompt_len_B
    if task.questions > 1:
        answer_BxQ = np.nonzero(_is_answer(batch, task))[1].reshape(size, task.questions)
        graded_BxL = np.where(batch.loss_mask_BxL, np.arange(length), length)
        next_graded_BxL = np.minimum.accumulate(graded_BxL[:, ::-1], axis=1)[:, ::-1]
        question_BxQx2[:, 1:, 0] = answer_BxQ[:, :-1] + 1
        question_BxQx2[:, 1:, 1] = np.take_along_axis(next_graded_BxL, answer_BxQ[:, :-1] + 1, axis=1)
    return question_BxQx2


def _is_answer(batch: Batch, task: Task) -> NDArray[np.bool_]:
    return batch.loss_mask_BxL & np.isin(batch.tokens_BxL, task.answers)


def check_choice(task: str, what: str, value: str, allowed: Sequence[str]) -> None:
    """Raises TaskError, with what there is to choose from, for a value that is not allowed."""
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"{task}: unknown {what} {value!r} (choose from {', '.join(allowed)}){hint}")
