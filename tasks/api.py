"""What a task is: a pure function from sample numbers to token traces, and the searches in these traces.

Axes: B samples of a batch, L positions of the longest trace, Q questions of a trace.

A task lives in one file (or one folder) of this package, or in a user's own file. It samples *problems*,
writes each as one *trace*, and shows the trace in one of the views `direct`, `cot`, `rag`.  Two rules hold
for all:

* sample *i* is a pure function of (configuration, i): batch size, order, workers and machine do not matter;
* a problem belongs to one split by its own hash, so splits are disjoint by construction.
"""

import abc
import difflib
import hashlib
import itertools
import re
import shlex
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
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


# Metadata of an option added after runs and samples were made without it: at its default it is not written, so that
# they keep their names and random streams.
LEFT_OUT_BY_DEFAULT = {"left_out_by_default": True}


class DataFile(str):
    """An option that is the path of a file, "" for none.  A run's hash covers the file's contents, not its path."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Options of a task besides n.  A task's subclass declares whole numbers, floats, words or a `DataFile`, with
    defaults.  Each is a flag on the command line, and is written `name=value` in `TaskConfig.options`, with shell
    quotes if the value has spaces."""


class Passage(NamedTuple):
    """A piece of a context that a search can find: the text that is matched, and the tokens that are the result."""

    text: str
    tokens: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """A task's settings; with a sample's number they determine the sample.

    n: problem size, as the paper counts it (nodes of a graph, tokens of a sequence).
    family: the distribution of problems; "" means the task's first.
    seed: any integer in [0, 2**63).
    options: the task's options, such as "c=3 values=16"; options not named keep their defaults.
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
    loss_mask_BxL: bool, true for graded tokens: not for the prompt, search results or padding.
    prompt_len_B: int32, tokens given to the model.
    length_B: int32, all tokens of the trace.
    answer_B: int32, the gold answer's token, of several answers the last (also the last token of the trace).
    """

    tokens_BxL: NDArray[np.int32]
    loss_mask_BxL: NDArray[np.bool_]
    prompt_len_B: NDArray[np.int32]
    length_B: NDArray[np.int32]
    answer_B: NDArray[np.int32]


class Task(abc.ABC):
    """Base of all tasks.  A subclass sets the class variables, builds its vocabulary and writes `sample`.

    size_flag: the command line's name for n; `--n` always works, and a task whose flag is `--n` accepts all names.
    options_type: the type of `self.options`; `self.config.options` has each of them as text, except
    `LEFT_OUT_BY_DEFAULT` ones at their default.
    shared_options: options whose default depends on n; the smaller problems of a curriculum take the run's values.
    open_answers: an answer is a text of any tokens (`answer_text`) that ends with one of `answers`.

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
        """The options with defaults that depend on n filled in.  Raises TaskError for one that n does not allow."""
        return options

    @property
    @abc.abstractmethod
    def vocabulary(self) -> tuple[str, ...]:
        """Spelling of each token number; begins with `CONTROL_TOKENS`; depends only on n and the options."""

    @property
    def roles(self) -> tuple[str, ...]:
        """Meaning of each token, the same at every n: the vocabulary, unless a word means different things at
        different n.  `training.curriculum` carries a model from one n to another by these names."""
        return self.vocabulary

    @property
    @abc.abstractmethod
    def answers(self) -> tuple[int, ...]:
        """Tokens that decide a sample: decoding stops at the first of them that the model writes itself."""

    @property
    @abc.abstractmethod
    def max_length(self) -> int:
        """Tokens of the longest trace this configuration can produce, prompt and answer included."""

    @property
    def unread(self) -> tuple[int, ...]:
        """Tokens that the model writes but does not read: it reads `[PAD]` instead, so that no answer helps with a
        later one."""
        return ()

    @property
    def questions(self) -> int:
        """Number of answers in a trace.  After each but the last come the tokens, if any, that ask for the next
        answer; they have no loss and are given during decoding."""
        return 1

    @property
    def guess(self) -> float:
        """Score of an undecided answer: the chance of guessing among all `answers`; 0 for open answers."""
        return 0.0 if self.open_answers else 1 / len(self.answers)

    @property
    def problems(self) -> int | None:
        """Number of different problems in the split: that many first samples have one each, and no more are
        evaluated.  None: not counted; a small n may have few problems, each repeated often."""
        return None

    def to_evaluate(self, wanted: int) -> int:
        """Number of samples to evaluate if `wanted` are asked for: no problem twice, if `problems` is known."""
        return min(wanted, self.problems or wanted)

    @abc.abstractmethod
    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        """The samples with these numbers, in this order."""

    def answer_text(self, tokens_L: NDArray[np.int32]) -> str:
        """For open answers: the answer of a whole trace, gold or decoded.  Equal texts are equal answers."""
        raise NotImplementedError(f"{self.name} has open_answers and no answer_text")

    def evidence(self, tokens_L: NDArray[np.int32]) -> Sequence[object]:
        """For open answers: the part of a whole trace that must equal the gold one's for an exact trace."""
        return tokens_L.tolist()

    def described(self, tokens_L: NDArray[np.int32], index: int) -> dict[str, Any]:
        """Properties of a problem, by name, that `retrieval-gap sample` prints beside its trace: a graph's edges."""
        return {}

    @property
    def context_len(self) -> int | None:
        """Tokens of every prompt up to the end of its sequence, where the question begins and a state can be measured;
        None if no question ends the prompt."""
        return None

    def search_pattern(self, query: Sequence[str]) -> str | None:
        """The RE2 pattern of `query`, the token spellings between the search brackets; None if it is malformed.

        It is run on the space-joined text before the search's `[STARTSEARCH]`.  The result is the first of its
        groups that took part in the match.  Without a pattern, a match, such a group or such a token the result is
        `[FAILED]`.  By default the query itself is the pattern, its tokens joined without spaces.
        """
        return "".join(query)

    def passages(self, context_L: NDArray[np.int32]) -> Sequence[Passage] | None:
        """The pieces of these tokens, in order, that a search runs on; None: it runs on their whole text.

        The result is the tokens of the first piece that the pattern matches.  It is `[FAILED]` if no piece matches, or
        if all of two or more match: such a pattern does not specify what is sought.
        """
        return None

    def fast_search(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """The result token, per sample, of the search whose `[ENDSEARCH]` is the last of the first `length_B` tokens.

        The same results as running `search_pattern`, without text.  None if a task has no such shortcut.
        """
        return None


T = TypeVar("T", bound=TaskOptions)
_PLAIN_NUMBER = re.compile(r"[-+.0-9A-Za-z]+")


def read_options(task: str, kind: type[T], text: str) -> T:
    """Parse options such as "c=3 values=16".  Raises TaskError for an unknown option or an invalid value, and if `kind`
    declares an option that is not a number, a word or a `DataFile` with a default."""
    default: dict[str, Any] = {field.name: field.default for field in fields(kind)}
    for name, value in default.items():
        if type(value) not in (int, float) and not isinstance(value, str):
            what = "has no default" if value is MISSING else f"is a {type(value).__name__}"
            raise TaskError(
                f"{task}: the option {name} of {kind.__name__} {what}; an option is a whole number, a float, a word or"
                " a DataFile, with a default (0 or 1 for a switch)"
            )
    given: dict[str, int | float | str] = {}
    for word in _option_words(task, text):
        name, _, value = word.partition("=")
        if name not in default:
            raise TaskError(f"{task}: unknown option {name!r} (it has {', '.join(default) or 'none'})")
        given[name] = _option_value(f"{task}: --{name}", type(default[name]), value)
    return kind(**given)


def option_grid(task: type[Task], text: str) -> list[str]:
    """The options texts of lists such as "c=3,5 values=4,16", in every combination.  Only numbers can be lists: a comma
    in a word belongs to it."""
    numbers = {field.name for field in fields(task.options_type) if type(field.default) in (int, float)}
    choices = [
        [f"{name}={value}" for value in values.split(",")] if name in numbers else [f"{name}{equals}{values}"]
        for name, equals, values in (word.partition("=") for word in _option_words(task.name, text))
    ]
    return [shlex.join(words) for words in itertools.product(*choices)]


def _option_value(where: str, kind: type, text: str) -> Any:
    """Numbers are spelled in ASCII digits, without the underscores and blanks that Python allows."""
    if kind not in (int, float):
        return kind(text)
    try:
        if not _PLAIN_NUMBER.fullmatch(text):
            raise ValueError
        return kind(text)
    except ValueError:
        raise TaskError(f"{where} {text!r} is not a {'whole number' if kind is int else 'number'}") from None


def _option_words(task: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise TaskError(f"{task}: a quote in its options, {text}, is not closed") from None


def written_options(options: TaskOptions, *, by_content: bool = False) -> str:
    """Every option as `name=value`, except `LEFT_OUT_BY_DEFAULT` ones at their default.  Equal options, equal text.

    by_content: a file's SHA-256 replaces its path.  Raises TaskError for a file that cannot be read.
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
    """Raises TaskError, naming the flag and its range, for a value outside it."""
    if not smallest <= value <= largest:
        raise TaskError(f"{task}: --{name} {value} is outside {smallest}..{largest}")


def answers_of(batch: Batch, task: Task) -> NDArray[np.int32]:
    """The gold answers of each sample, in order (BxQ).  Raises ValueError if there are not `task.questions` of each."""
    return batch.tokens_BxL[_is_answer(batch, task)].reshape(len(batch.tokens_BxL), task.questions)


def questions_of(batch: Batch, task: Task) -> NDArray[np.intp]:
    """The span of each question in its sample's tokens (BxQx2: first position, position past the last).

    The first question is the prompt; a later one begins after an answer and ends before the next graded token.
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
    """Raises TaskError, listing the choices, for a value that is not one of them."""
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"{task}: unknown {what} {value!r} (choose from {', '.join(allowed)}){hint}")
