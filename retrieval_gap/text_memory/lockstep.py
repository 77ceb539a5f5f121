"""Run many streams together: each round sends the next request of every unfinished stream, to keep a server busy.

Each stream's own order is kept.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from retrieval_gap.llm.client import Client
from retrieval_gap.llm.request import Request, ScoreRequest
from retrieval_gap.text_memory.asking import Ask, Talk, ToJudge

T = TypeVar("T")


def run_in_lockstep(
    talks: Sequence[Talk[T]], client: Client, judge: Client, *, what: str, after_round: Callable[[int], None]
) -> list[T]:
    """Return the results of the talks, in order.  judge: answers `ToJudge` requests, perhaps the same client.
    after_round: called with the number of finished talks.  Raises what a talk or a client raises."""
    results: dict[int, T] = {}
    waiting: dict[int, Ask] = {}

    def go_on(place: int, reply: Any) -> None:
        try:
            waiting[place] = talks[place].send(reply)
        except StopIteration as end:
            results[place] = end.value

    for place in range(len(talks)):
        go_on(place, None)
    while waiting:
        asked, waiting = waiting, {}
        progress = f"{what}, {len(results)} of {len(talks)} streams"
        for place, reply in _answered(asked, client, judge, progress).items():
            go_on(place, reply)
        after_round(len(results))
    return [results[place] for place in range(len(talks))]


def _answered(asked: dict[int, Ask], client: Client, judge: Client, what: str) -> dict[int, Any]:
    """Each stream's reply, by its index, in the order of `asked`."""
    found: dict[int, Any] = {}
    written = {place: ask for place, ask in asked.items() if isinstance(ask, Request)}
    found |= dict(zip(written, client.ask(list(written.values()), what), strict=True))
    scored = {place: ask for place, ask in asked.items() if isinstance(ask, ScoreRequest)}
    found |= dict(zip(scored, client.score(list(scored.values()), what), strict=True))
    judged = {place: ask.request for place, ask in asked.items() if isinstance(ask, ToJudge)}
    found |= dict(zip(judged, judge.ask(list(judged.values()), f"{what}, judging"), strict=True))
    return {place: found[place] for place in asked}
