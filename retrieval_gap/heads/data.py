"""Examples as a head reads them: token states, a mask, and targets, in batches.

Axes: B examples, R texts of a batch (one per example, or one per choice for multiple choice), L tokens of the longest,
D width, C the most choices, O outputs.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_gap.heads.head import Learner
from retrieval_gap.llm.embeddings import TextStates
from retrieval_gap.tasks.texts import Example, LabelKind
from retrieval_gap.tasks.texts.shuffles import permutation
from retrieval_gap.tasks.texts.spans import count_spans

UNGRADED = -100
MOST_KEPT = 1 << 29  # bytes of states that a split keeps in memory; the rest is read from disk each time


class KnownStates(Protocol):
    """States by text, such as a `StateStore`."""

    def __getitem__(self, text: str, /) -> TextStates: ...


class StateBatch(NamedTuple):
    """target: B labels or right choices; for token labels RxL, `UNGRADED` where no word begins.  choices: number of
    texts of each example."""

    states_RxLxD: Tensor
    mask_RxL: Tensor
    target: Tensor
    choices: list[int]


class Counted(NamedTuple):
    """An example's part of a score: the score is the sum of numerators over the sum of denominators."""

    numerator: float
    denominator: float


class StateData:
    """A split.  window: shuffles the states within windows of this many (0: the whole text); None keeps the order."""

    def __init__(
        self,
        examples: Sequence[Example],
        store: KnownStates,
        *,
        kind: LabelKind,
        labels: Sequence[str],
        window: int | None = None,
    ) -> None:
        self.examples, self.kind, self._labels = examples, kind, tuple(labels)
        self._store, self._window = store, window
        self._kept: dict[str, TextStates] = {}
        self._bytes = 0

    def batch(self, places: Sequence[int]) -> StateBatch:
        chosen = [self.examples[place] for place in places]
        read = self._states([text for example in chosen for text in example.texts])
        states_RxLxD = torch.nn.utils.rnn.pad_sequence([each.states_LxD.float() for each in read], batch_first=True)
        length_R = torch.tensor([len(each.word_L) for each in read])
        mask_RxL = torch.arange(states_RxLxD.shape[1]) < length_R[:, None]
        target = torch.tensor([example.label for example in chosen])
        if self.kind == "tokens":
            tags = [_token_targets(each.word_L, e.tags) for each, e in zip(read, chosen, strict=True)]
            target = torch.nn.utils.rnn.pad_sequence(tags, batch_first=True, padding_value=UNGRADED)
        return StateBatch(states_RxLxD, mask_RxL, target, [len(example.texts) for example in chosen])

    def judge(self, place: int, scores: Tensor) -> Counted:
        """scores: of one example, from `scores_of`."""
        example = self.examples[place]
        if self.kind != "tokens":
            return Counted(float(int(scores.argmax()) == example.label), 1.0)
        word_L = self._words(example.texts[0])
        said = [self._labels.index("O")] * len(example.tags)
        for token in _first_pieces(word_L):
            said[int(word_L[token])] = int(scores[token].argmax())
        counts = count_spans(*([self._labels[tag] for tag in tags] for tags in (example.tags, said)))
        return Counted(2.0 * counts.right, float(counts.said + counts.true))

    def _states(self, texts: Sequence[str]) -> list[TextStates]:
        """States in the order in which the head reads them; a word's number is at its first token only."""
        return [self._kept_states(text) for text in texts]

    def _words(self, text: str) -> Tensor:
        return self._kept_states(text).word_L

    def _kept_states(self, text: str) -> TextStates:
        if text in self._kept:
            return self._kept[text]
        read = self._ordered(text, self._store[text])
        if self._bytes < MOST_KEPT:
            self._kept[text] = read
            self._bytes += read.states_LxD.numel() * read.states_LxD.element_size()
        return read

    def _ordered(self, text: str, read: TextStates) -> TextStates:
        if self._window is None:
            return TextStates(read.states_LxD, _marked(read.word_L))
        order_L = torch.from_numpy(permutation(len(read.word_L), self._window, f"states|{text}"))
        return TextStates(read.states_LxD[order_L], _marked(read.word_L)[order_L])


def _marked(word_L: Tensor) -> Tensor:
    """The word of each token that begins a word; -1 for the others."""
    before_L = torch.cat([word_L.new_full((1,), -1), word_L[:-1]])
    return torch.where(word_L != before_L, word_L, -1)


def _first_pieces(word_L: Tensor) -> list[int]:
    found: list[int] = (word_L >= 0).nonzero()[:, 0].tolist()
    return found


def _token_targets(word_L: Tensor, tags: Sequence[int]) -> Tensor:
    tag_W = torch.tensor(tags)
    return torch.where(word_L >= 0, tag_W[word_L.clamp(min=0).long()], UNGRADED)


def scores_of(learner: Learner, batch: StateBatch, kind: LabelKind) -> Tensor:
    """Scores BxO; for multiple choice BxC, minus infinity past an example's choices; for token labels RxLxO."""
    if kind == "tokens":
        return learner.token_scores(batch.states_RxLxD, batch.mask_RxL)
    scores = learner(batch.states_RxLxD, batch.mask_RxL)
    if kind == "text":
        return scores
    of_each = scores[:, 0].split(batch.choices)
    return torch.nn.utils.rnn.pad_sequence(list(of_each), batch_first=True, padding_value=-torch.inf)


def loss_of(scores: Tensor, batch: StateBatch, kind: LabelKind) -> Tensor:
    """Mean cross-entropy of `scores_of`, in nats, over the labels, choices or words of a batch."""
    if kind == "tokens":
        return F.cross_entropy(scores.flatten(0, 1), batch.target.flatten(), ignore_index=UNGRADED)
    return F.cross_entropy(scores, batch.target)
