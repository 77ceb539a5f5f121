"""Methods: what each carries from step to step, at most the budget, and how it learns from a step.

`search` is the one exception, and a control: it shows no more than the budget, but searches the whole log.  Steps are
carried whole or left out, the oldest first.  A step that exceeds the budget by itself is never carried, and displaces
nothing.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from retrieval_gap.llm.request import Request
from retrieval_gap.tasks.streams.scores import judge
from retrieval_gap.tasks.streams.stream import Step, seen
from retrieval_gap.text_memory import prompts
from retrieval_gap.text_memory.answers import shown
from retrieval_gap.text_memory.asking import Speaker, Talk
from retrieval_gap.text_memory.lookup import ranked
from retrieval_gap.text_memory.memory import Memory, Version
from retrieval_gap.text_memory.outcomes import Past
from retrieval_gap.text_memory.rewriting import Notebook


class Method(Protocol):
    """One method on one stream."""

    def carried(self, now: Step) -> str:
        """The method's text for the prompt of this step, never above the budget."""

    def learn(self, past: Past) -> Talk[list[Version]]:
        """Learn from a past step; return the versions of the memory that result."""


class ZeroShot:
    """Carries nothing."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    def carried(self, now: Step) -> str:
        return ""

    def learn(self, past: Past) -> Talk[list[Version]]:
        yield from ()
        return []


class Steps:
    """Carries the last steps whole, as many as the budget holds.  only_k: whether `k` also limits their number."""

    only_k: ClassVar[bool] = False

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._lines: list[str] = []

    def carried(self, now: Step) -> str:
        return "\n".join(self._lines)

    def learn(self, past: Past) -> Talk[list[Version]]:
        yield from ()
        self._keep(past.line())
        return []

    def _keep(self, line: str) -> None:
        """Keep the newest lines that fit; a line above the budget changes nothing."""
        settings = self._speaker.settings
        if self._speaker.count(line) > settings.budget:
            return
        lines = [*self._lines, line][-settings.k if self.only_k else 0 :]
        newest = self._speaker.count.fitting_as(lines[::-1], settings.budget, lambda chosen: "\n".join(chosen[::-1]))
        self._lines = newest[::-1]


class LastK(Steps):
    only_k = True


class Summaries(Steps):
    """The reproduction's reading of MemPrompt: the model summarises each step with its outcome, and the summaries are
    carried like the full history."""

    def learn(self, past: Past) -> Talk[list[Version]]:
        speaker = self._speaker
        step = prompts.told(past.step, shown(past.predicted), past.outcome.text)
        request = Request(
            system=prompts.SUMMARISE,
            prompt=prompts.summary(speaker.target, step),
            max_tokens=2 * prompts.WORDS_OF_SUMMARY,
            temperature=speaker.settings.temperature,
            draw=speaker.settings.draw,
        )
        completion = yield from speaker.write(request)
        line = " ".join(completion.text.split())
        if line:
            self._keep(line)
        return []


class Episodes(Steps):
    """Carries the last steps that the budget holds, and shows those most similar to the present one."""

    def carried(self, now: Step) -> str:
        count, settings = self._speaker.count, self._speaker.settings
        best = ranked(now.text(), self._lines, settings.k)
        return self._text(count.fitting_as(best, settings.budget, self._text))

    def _text(self, places: Sequence[int]) -> str:
        """The lines at these places, the oldest first."""
        return "\n".join(self._lines[place] for place in sorted(places))


class MemPrompt(Episodes):
    """The original MemPrompt (arXiv 2201.06009): feedback on wrong predictions, looked up by similarity.  A number is
    never exactly right, so all steps of a numeric target count."""

    def learn(self, past: Past) -> Talk[list[Version]]:
        yield from ()
        asked = past.step.truth is not None
        if asked and past.outcome.text and past.outcome.wrong is not False:
            self._keep(past.line())
        return []


class SearchLog(Episodes):
    """Searches the whole log, without a bound: the retriever that a state of fixed size is compared with."""

    def _keep(self, line: str) -> None:
        if self._speaker.count(line) <= self._speaker.settings.budget:  # a longer line could never be shown
            self._lines.append(line)


class Rewriting:
    """LLM-as-RNN: a memory that the model rewrites, or edits, after each step."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker, self._notebook = speaker, Notebook(speaker)
        self._recent: list[Past] = []

    def carried(self, now: Step) -> str:
        return self._notebook.version.text

    def learn(self, past: Past) -> Talk[list[Version]]:
        gate = self._speaker.settings.gate
        if gate and past.outcome.truth is not None:
            self._recent = [*self._recent, past][-gate:]
        before, memory = self._notebook.version, self._notebook.memory
        version = yield from self._notebook.update(past)
        if self._recent and version.text != before.text:
            told = yield from self._worse(before.text, version.text)
            if told:
                version = self._notebook.take_back(memory, before, past.step.number, told)
        return [version]

    def _worse(self, old: str, new: str) -> Talk[str]:
        """Why the gate rejects the new memory; "" if it predicts the last steps as well as the old one."""
        sums = []
        for text in (old, new):
            total = 0.0
            for past in self._recent:
                predicted = yield from self._speaker.predict(text, past.step)
                assert past.outcome.truth is not None, "only those are kept"
                value = judge(self._speaker.target, predicted.value, past.outcome.truth).value
                total += value if value == value else -abs(float(str(past.outcome.truth))) - 1  # NaN: unreadable
            sums.append(total / len(self._recent))
        return (
            f"the last {len(self._recent)} steps score {sums[1]:.3g}, {sums[0]:.3g} before" if sums[1] < sums[0] else ""
        )


class NoUpdate(ZeroShot):
    """The empty memory, never written: the effect of the headings alone."""

    def carried(self, now: Step) -> str:
        return Memory().text


class Oracle(ZeroShot):
    """The notes of an ideal writer, as many as the budget holds: whether the model can read a memory at all."""

    def carried(self, now: Step) -> str:
        speaker = self._speaker
        notes = speaker.benchmark.oracle_notes(seen(speaker.stream.steps, now), speaker.target)
        return "\n".join(speaker.count.fitting(notes, speaker.settings.budget))


METHOD_CLASSES: dict[str, Callable[[Speaker], Method]] = {
    "zero_shot": ZeroShot,
    "last_k": LastK,
    "full_history": Steps,
    "memprompt": MemPrompt,
    "memprompt_summary": Summaries,
    "episodes": Episodes,
    "search": SearchLog,
    "llm_as_rnn": Rewriting,
    "no_update": NoUpdate,
    "oracle_memory": Oracle,
}
UNBOUNDED = ("search",)
