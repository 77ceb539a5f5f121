"""HotpotQA: questions whose answer needs two paragraphs out of ten ("HotpotQA: A Dataset for Diverse, Explainable
Multi-hop Question Answering", Yang et al., EMNLP 2018).

data/records.py reads the public files, data/subsets.py decides which paragraphs a model sees and in which order, and
worlds/ writes questions of the same form about small made-up worlds, without limit and without a download.

Here they are a task: paragraphs, then a question; the model answers directly (`direct`), after it has written the
supporting sentences (`cot`), or after it has searched for them (`rag`).  Answers are texts.  traces.py has the format,
search.py the searches, data/text.py the tokens, docs/hotpotqa.md an example.

Axes: B samples, L positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..api import (
    CONTROL_TOKENS,
    ENDSEARCH,
    EOS,
    Batch,
    DataFile,
    Mode,
    Passage,
    Task,
    TaskConfig,
    TaskError,
    TaskOptions,
    check_option,
)
from .data.pool import hash_of
from .data.source import (
    POOLED,
    FileSource,
    Source,
    WorldSource,
    longest_paragraphs,
    of_split,
    read_file,
    shortened,
    writer_of,
)
from .data.subsets import LARGEST, SMALLEST, Distractors, Shown, SubsetConfig, Subsets, Variant
from .search import LONGEST_QUERY
from .traces import MARKS, Writer, padded
from .worlds.questions import WorldConfig

NO_FILE = DataFile()
SMALL_FILE = 1_000  # questions


@dataclass(frozen=True, kw_only=True)
class HotpotQAOptions(TaskOptions):
    """data: a file of questions, split by a hash of their ids; "": made-up worlds.
    facts, names: of the made-up worlds, as in `WorldConfig`.
    order, distractors, variant: as in `SubsetConfig`.
    fewest: training shows fewest, fewest + 2, ... or n paragraphs, equally often; 0: always n.
    sentences: most sentences of a paragraph, supporting ones before others; 0: all.
    sentence_tokens: most tokens of a sentence; longer ones are cut in the prompt.
    hops: most supporting sentences of a trace, and most searches that find something.
    vocab: number of text tokens, 256 of them the bytes.
    """

    data: DataFile = NO_FILE
    facts: int = 3
    names: int = 24
    order: str = "random"
    distractors: Distractors = "own"
    variant: Variant = "plain"
    fewest: int = 0
    sentences: int = 0
    sentence_tokens: int = 64
    hops: int = 2
    vocab: int = 2048


class HotpotQA(Task):
    """The task; n counts paragraphs.  Raises TaskError for an invalid data file when it is first needed."""

    name: ClassVar[str] = "hotpotqa"
    modes: ClassVar[tuple[Mode, ...]] = ("direct", "cot", "rag")
    n_range: ClassVar[tuple[int, int]] = (SMALLEST, LARGEST)
    size_flag: ClassVar[str] = "--n-paragraphs"
    options_type: ClassVar[type[TaskOptions]] = HotpotQAOptions
    open_answers: ClassVar[bool] = True
    options: HotpotQAOptions

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        self._subset(config.n, config.seed), self._worlds  # invalid values raise here
        self._subsets = lru_cache(maxsize=32)(self._new_subsets)

    def settle(self, options: HotpotQAOptions, n: int) -> HotpotQAOptions:
        if options.fewest:
            check_option(self.name, "fewest", options.fewest, SMALLEST, n)
        check_option(self.name, "sentences", options.sentences, 0, 100)
        check_option(self.name, "sentence_tokens", options.sentence_tokens, 8, 1024)
        check_option(self.name, "hops", options.hops, 1, 8)
        check_option(self.name, "vocab", options.vocab, 256, 2**16)
        return options

    @property
    def _counts(self) -> Sequence[int]:
        """The numbers of paragraphs that samples have."""
        n, fewest = self.config.n, self.options.fewest
        return (*range(fewest, n, 2), n) if fewest and self.config.split == "train" else (n,)

    def _subset(self, n: int, seed: int) -> SubsetConfig:
        """Raises TaskError for an unknown order, distractors or variant."""
        o = self.options
        return SubsetConfig(n_paragraphs=n, order=o.order, distractors=o.distractors, variant=o.variant, seed=seed)

    @property
    def _worlds(self) -> WorldConfig:
        return WorldConfig(facts=self.options.facts, names=self.options.names)

    @cached_property
    def _source(self) -> Source:
        if not self.options.data:
            worlds = WorldSource(self._worlds, self.config.split, self.config.seed, self.options.sentences)
            return self._with_enough(worlds)
        every = of_split(read_file(self.options.data), self.config.split)
        fitting = Subsets(every, self._subset(self.config.n, self.config.seed)).questions
        if not fitting:
            raise TaskError(
                f"hotpotqa: of the {len(every)} questions that {self.options.data} has in split {self.config.split} "
                f"none can be shown with {self.size_flag} {self.config.n}"
            )
        shown = [shortened(question, self.options.sentences) for question in fitting]
        return self._with_enough(FileSource(shown, self.config.seed))

    def _with_enough(self, source: Source) -> Source:
        """Raises TaskError now, not in the middle of training, if one of the first questions finds too few distractors
        among other questions.  Large files have enough."""
        if self.options.distractors == "other" and len(source.questions) <= SMALL_FILE:
            subsets = Subsets(source.questions, self._subset(self.config.n, self.config.seed))
            for question in source.questions[:POOLED]:
                subsets.shown(question)
        return source

    @cached_property
    def _writer(self) -> Writer:
        o = self.options
        return writer_of(o.data, self._worlds, o.vocab, o.sentence_tokens, o.hops)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        return (*CONTROL_TOKENS, *MARKS, *self._writer.codec.spelling)

    @property
    def answers(self) -> tuple[int, ...]:
        return (EOS,)

    @property
    def problems(self) -> int | None:
        return self._source.problems

    @cached_property
    def max_length(self) -> int:
        """The longest n paragraphs of a question, with the longest of everything else."""
        shown = self.config.n if self.options.variant == "plain" else LARGEST
        o = self.options
        lengths = longest_paragraphs(o.data, self._worlds, o.sentences, self._writer, o.variant)
        if self.options.distractors == "other":
            paragraphs = shown * max(map(max, lengths))
        else:
            paragraphs = max(sum(sorted(of_question)[-shown:]) for of_question in lengths)
        return self._writer.longest(paragraphs, self.config.mode)

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        traces = [self._writer.trace(self.shown(int(index)), self.config.mode) for index in index_B]
        tokens_BxL, loss_mask_BxL = padded(traces)
        return Batch(
            tokens_BxL=tokens_BxL,
            loss_mask_BxL=loss_mask_BxL,
            prompt_len_B=np.array([trace.prompt for trace in traces], np.int32),
            length_B=np.array([len(trace.tokens) for trace in traces], np.int32),
            answer_B=np.full(len(traces), EOS, np.int32),
        )

    def shown(self, index: int) -> Shown:
        """The question of a sample, with the paragraphs that the model sees."""
        question, seed = self._source.drawn(index)
        count = self._counts[hash_of(str(seed), "count", str(index)) % len(self._counts)]
        return self._subsets(count, seed).shown(question)

    def _new_subsets(self, n: int, seed: int) -> Subsets:
        return Subsets(self._source.questions, self._subset(n, seed), self._writer.count)

    def answer_text(self, tokens_L: NDArray[np.int32]) -> str:
        return self._writer.answer(tokens_L.tolist())

    def evidence(self, tokens_L: NDArray[np.int32]) -> Sequence[object]:
        """The supporting sentences, written or found, and nothing else of the trace; in `direct`, the answer."""
        if self.config.mode == "direct":
            return (self.answer_text(tokens_L),)
        return self._writer.sentences(tokens_L.tolist())

    def described(self, tokens_L: NDArray[np.int32], index: int) -> dict[str, Any]:
        return self.shown(index).as_json()

    def search_pattern(self, query: Sequence[str]) -> str | None:
        """The text of the query.  None if it is empty, longer than LONGEST_QUERY, or has a token that is not text."""
        pattern = self._writer.codec.read(query)
        return pattern if pattern and len(pattern) <= LONGEST_QUERY else None

    def passages(self, context_L: NDArray[np.int32]) -> Sequence[Passage]:
        """The sentences shown; none after as many searches as there are hops."""
        if np.count_nonzero(context_L == ENDSEARCH) >= self.options.hops:
            return ()
        return self._writer.passages(context_L.tolist())


TASK = HotpotQA
