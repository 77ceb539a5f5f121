"""Train a head together with the model below it: states are computed anew for every batch, with gradients.

Axes: B texts, L tokens of the longest, D width of the states, O outputs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from retrieval_gap.heads.data import StateData
from retrieval_gap.heads.head import Head, Learner
from retrieval_gap.llm.embeddings import TextStates
from retrieval_gap.llm.embeddings.reader import StateReader
from retrieval_gap.tasks.texts import Example, LabelKind


class Tuned(Learner):
    """A head together with a model's weights; the scores are the head's.

    model: from `StateReader.trained_module`; the batches hold its states.  model_rate: learning rate of its weights;
    the head's is searched for.  The model is trained without dropout.
    """

    def __init__(self, head: Head, model: nn.Module, model_rate: float) -> None:
        super().__init__()
        self.head, self.model, self._model_rate = head, model, model_rate

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.model.eval()
        return self

    def forward(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        scores_BxO: Tensor = self.head(states_BxLxD, mask_BxL)
        return scores_BxO

    def token_scores(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        return self.head.token_scores(states_BxLxD, mask_BxL)

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        model = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return [*self.head.parameter_groups(rate), {"params": model, "lr": self._model_rate}]


class Tuning:
    """Makes learners that all start from the same weights of the model.  The model is loaded once and its weights are
    reset for each learner, so only the last learner made may be used."""

    def __init__(self, reader: StateReader, model_rate: float) -> None:
        self._model, self._model_rate = reader.trained_module(), model_rate
        self._begin: Mapping[str, Tensor] = {
            name: parameter.detach().clone()
            for name, parameter in self._model.named_parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def learner(self, head: Head) -> Tuned:
        for name, begin in self._begin.items():
            self._model.get_parameter(name).copy_(begin)
        return Tuned(head, self._model, self._model_rate)


class LiveData(StateData):
    """A split whose states come from the model with its current weights."""

    def __init__(
        self,
        examples: Sequence[Example],
        reader: StateReader,
        *,
        kind: LabelKind,
        labels: Sequence[str],
        window: int | None = None,
    ) -> None:
        super().__init__(examples, {}, kind=kind, labels=labels, window=window)
        self._reader = reader

    def _states(self, texts: Sequence[str]) -> list[TextStates]:
        read = [TextStates(each.states_LxD.cpu(), each.word_L) for each in self._reader.live(texts)]
        return [self._ordered(text, each) for text, each in zip(texts, read, strict=True)]

    def _words(self, text: str) -> Tensor:
        word_L = self._reader.words(text)
        return self._ordered(text, TextStates(torch.empty(len(word_L), 0), word_L)).word_L
