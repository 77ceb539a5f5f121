"""The memory of LLM-as-RNN on one stream: rewritten after each step, held to its budget, with a version per step."""

from retrieval_gap.llm.request import Completion, Request
from retrieval_gap.text_memory import prompts
from retrieval_gap.text_memory.answers import shown
from retrieval_gap.text_memory.asking import Speaker, Talk
from retrieval_gap.text_memory.memory import (
    Memory,
    Reason,
    UnreadableError,
    Version,
    apply_edits,
    diff,
    kept_version,
    parse_memory,
)
from retrieval_gap.text_memory.outcomes import Past

# A reply may exceed the budget by a quarter and these tokens, so that one above the budget is recognised as such.
ROOM = 32


class _RefusedError(Exception):
    """A reply that is rejected as the new memory."""

    def __init__(self, reason: Reason, told: str, over: Memory | None = None) -> None:
        super().__init__(told)
        self.reason, self.told, self.over = reason, told, over


class Notebook:
    """memory, version: the present ones.  The first memory has only headings, which the budget has to hold."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self.memory = Memory()
        text = self.memory.text
        self.version = Version(step=-1, text=text, tokens=speaker.count(text), reason="start", told="", diff=())

    def update(self, past: Past) -> Talk[Version]:
        """Update the memory after a step.  A new one above the budget is consolidated once; if that fails, or the reply
        was not a memory, the model is asked a second time; then the old one is kept, and the version says why."""
        step = prompts.told(past.step, shown(past.predicted), past.outcome.text)
        prompt, number = self._prompt(step), past.step.number
        try:
            return self._taken((yield from self._asked(prompt)), number, "written")
        except _RefusedError as refused:
            first = refused
        if first.over is not None:
            try:
                return self._taken((yield from self._consolidated(first.over)), number, "consolidated")
            except _RefusedError:
                pass  # the second try follows
        try:
            again = prompts.second_try(prompt, first.told)
            return self._taken((yield from self._asked(again)), number, "second try")
        except _RefusedError as refused:
            self.version = kept_version(self.version, number, refused.reason, refused.told)
        return self.version

    def take_back(self, memory: Memory, before: Version, step: int, told: str) -> Version:
        """Restore the old memory, because the gate found the new one worse."""
        self.memory, self.version = memory, kept_version(before, step, "gate", told)
        return self.version

    def _taken(self, memory: Memory, step: int, reason: Reason) -> Version:
        old, text = self.version.text, memory.text
        if text == old:
            reason = "unchanged"
        self.memory = memory
        self.version = Version(
            step=step, text=text, tokens=self._speaker.count(text), reason=reason, told="", diff=diff(old, text)
        )
        return self.version

    def _asked(self, prompt: str) -> Talk[Memory]:
        """Raises _RefusedError for a reply that is not a memory, or is above the budget."""
        completion = yield from self._speaker.write(self._request(prompt))
        text = _whole(completion)
        if self._speaker.settings.update == "rewrite":
            return self._within(_parsed(text))
        try:
            memory, failed = apply_edits(self.memory, text)
        except UnreadableError as error:
            raise _RefusedError("unreadable", str(error)) from error
        if failed:
            raise _RefusedError("unreadable", f"{failed} lines are not edits")
        return self._within(memory)

    def _consolidated(self, over: Memory) -> Talk[Memory]:
        tokens, budget = self._speaker.count(over.text), self._speaker.settings.budget
        prompt = prompts.consolidate(self._speaker.target, over.text, tokens, budget)
        completion = yield from self._speaker.write(self._request(prompt))
        return self._within(_parsed(_whole(completion)))

    def _within(self, memory: Memory) -> Memory:
        tokens, budget = self._speaker.count(memory.text), self._speaker.settings.budget
        if tokens > budget:
            raise _RefusedError("over budget", f"it has {tokens} tokens, {budget} are allowed", over=memory)
        return memory

    def _prompt(self, step: str) -> str:
        settings, target = self._speaker.settings, self._speaker.target
        ask = prompts.rewrite if settings.update == "rewrite" else prompts.edits
        return ask(target, self.memory, self.version.tokens, settings.budget, step)

    def _request(self, prompt: str) -> Request:
        settings = self._speaker.settings
        return Request(
            system=prompts.WRITE,
            prompt=prompt,
            max_tokens=settings.budget + settings.budget // 4 + ROOM,
            temperature=settings.temperature,
            draw=settings.draw,
        )


def _whole(completion: Completion) -> str:
    """The reply's text.  Raises _RefusedError if it was cut at its limit, or repeats the instruction."""
    if any(echo in completion.text for echo in prompts.ECHOES):
        raise _RefusedError("echo", "it repeats the instruction")
    if not completion.finished:
        raise _RefusedError("cut", "it was cut at the limit of a reply")
    return completion.text


def _parsed(text: str) -> Memory:
    try:
        return parse_memory(text)
    except UnreadableError as error:
        raise _RefusedError("unreadable", str(error)) from error
