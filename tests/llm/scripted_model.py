"""A model that answers by script, in this process: no weights, no server.  A word is a token."""

from collections.abc import Callable, Sequence
from typing import Any

from retrieval_gap.llm.request import AnswerScores, Completion, Reply, Request, Scored, ScoreRequest
from retrieval_gap.llm.wording import prompt_text, request_values


def nothing_likely(request: ScoreRequest, answer: str) -> float:
    return -float(len(answer.split()))


class ScriptedModel:
    """answer: returns the text of a reply to a request, or the whole reply.  likelihood: of an answer, in nats.

    asked: all requests that reached it, in order.
    """

    def __init__(
        self,
        answer: Callable[[Request], str | Reply],
        likelihood: Callable[[ScoreRequest, str], float] = nothing_likely,
        *,
        name: str = "scripted",
        vocabulary: int = 1024,
    ) -> None:
        self._answer, self._likelihood = answer, likelihood
        self.described: dict[str, Any] = {"backend": "scripted", "model": name, "api": "completions"}
        self.hardware, self.vocabulary, self.context_limit = "", vocabulary, 0
        self.asked: list[Request | ScoreRequest] = []

    def whole(self, request: Request | ScoreRequest) -> dict[str, Any]:
        return self.described | {"body": request_values(request)}

    def complete(self, requests: Sequence[Request], done: Callable[[int, Reply], None]) -> None:
        for place, request in enumerate(requests):
            self.asked.append(request)
            said = self._answer(request)
            done(place, self._completion(request, said) if isinstance(said, str) else said)

    def score(self, requests: Sequence[ScoreRequest], done: Callable[[int, Scored], None]) -> None:
        for place, request in enumerate(requests):
            self.asked.append(request)
            told = tuple(self._likelihood(request, answer) for answer in request.answers)
            tokens = tuple(self.count_tokens(answer) for answer in request.answers)
            read = self.count_tokens(prompt_text(request)) + sum(tokens)
            done(place, AnswerScores(log_likelihoods=told, answer_tokens=tokens, prompt_tokens=read))

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def _completion(self, request: Request, said: str) -> Completion:
        """The reply, cut at the limit like a model's."""
        words = said.split(" ")
        text = said if len(words) <= request.max_tokens else " ".join(words[: request.max_tokens])
        return Completion(
            text=text,
            finished=text == said,
            prompt_tokens=self.count_tokens(prompt_text(request)),
            completion_tokens=self.count_tokens(text),
        )
