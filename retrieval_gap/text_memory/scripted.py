"""Models that answer by a rule: their results are known beforehand, so that the code around a model can be tested.

They know only what is in the prompt.  A token is a word or a punctuation mark.  `note_taker` keeps the last facts that
fit; the others each do one thing wrong, in every reply.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from retrieval_gap.llm.request import AnswerScores, Completion, Reply, Request, Scored, ScoreRequest, TooLong
from retrieval_gap.llm.wording import prompt_text, request_values
from retrieval_gap.machine.errors import unknown
from retrieval_gap.text_memory import prompts
from retrieval_gap.text_memory.memory import SECTIONS

PREFIX = "scripted:"
VOCABULARY = 1024
TOKEN = re.compile(r"\w+|[^\w\s]")
_BUDGET = re.compile(r"(\d+) (?:at most )?are allowed")
_OPTIONS = re.compile(r"One of: ([^.\n]*)\.")
_PAIR = r"(\w+)(?: has a |: | -> )(\w+)\.?"
_NOTE = re.compile(rf"^(?:- |\d+\. )?({_PAIR})$", re.MULTILINE)
_SHOWN = re.compile(rf"^(?:- )?(?:fact |colour )?{_PAIR}$", re.MULTILINE)
_TOLD = re.compile(rf"^fact: ({_PAIR})$", re.MULTILINE)
_ASKED = re.compile(r"^(?:question: Which animal does (\w+) have\?|colour: (\w+))$", re.MULTILINE)
_OUTCOME = re.compile(r"^Outcome: (\w+)\.", re.MULTILINE)


def count_tokens(text: str) -> int:
    return len(TOKEN.findall(text))


def note_taker(prompt: str) -> str:
    """Write the notes with the new fact, the newest facts that fit the budget; predict from the notes alone."""
    if prompts.NOW in prompt:
        return _predicted(prompt)
    if '{"right"' in prompt:
        return json.dumps({"right": True})
    if not _BUDGET.search(prompt):  # a summary of one step
        return "".join(_news(prompt).values()) or "nothing new"
    budget = int(_BUDGET.findall(prompt)[-1])
    facts = {key: line for line, key, _ in _NOTE.findall(_between(prompt, prompts.NOTES, prompts.INPUT))}
    for key, line in _news(prompt).items():
        facts.pop(key, None)
        facts[key] = line
    lines = [f"- {line}" for line in facts.values()]
    while lines and count_tokens(_notes(lines)) > budget:
        lines = lines[1:]
    if "Edit the notes" in prompt:
        return _as_edits(prompt, facts, len(lines))
    return _notes(lines)


def forgetful(prompt: str) -> str:
    """Keep only the newest fact."""
    if prompts.NOW in prompt:
        return _predicted(prompt)
    return _notes([f"- {line}" for line in _news(prompt).values()][-1:])


def overrunning(prompt: str) -> str:
    """Write one token more than is allowed, even when asked to shorten."""
    if prompts.NOW in prompt:
        return _predicted(prompt)
    budget = int((_BUDGET.findall(prompt) or [prompts.WORDS_OF_SUMMARY])[-1])
    return _notes(["- " + "word " * (budget - count_tokens(_notes([])))])


def echoing(prompt: str) -> str:
    """Repeat the prompt."""
    return prompt


def in_prose(prompt: str) -> str:
    """Answer in prose, in none of the forms that were asked for."""
    return "I would say that it depends on many things, and that nothing is certain."


def stalling(prompt: str) -> str:
    """Write until the reply is cut."""
    return "well " * 10_000


RULES: dict[str, Callable[[str], str]] = {
    "note_taker": note_taker,
    "forgetful": forgetful,
    "overrunning": overrunning,
    "echoing": echoing,
    "prose": in_prose,
    "stalling": stalling,
}


class ScriptedBackend:
    """An `LLMBackend`.  name: a rule of `RULES`.  asked: requests received.  Raises UsageError for another name."""

    def __init__(self, name: str, *, context_limit: int = 0) -> None:
        if name not in RULES:
            raise unknown("scripted model", name, RULES)
        self._rule, self.context_limit = RULES[name], context_limit
        self.described: dict[str, Any] = {"backend": "scripted", "model": name}
        self.hardware, self.vocabulary = "", VOCABULARY
        self.asked: list[Request | ScoreRequest] = []

    def whole(self, request: Request | ScoreRequest) -> dict[str, Any]:
        return self.described | {"body": request_values(request)}

    def complete(self, requests: Sequence[Request], done: Callable[[int, Reply], None]) -> None:
        for place, request in enumerate(requests):
            self.asked.append(request)
            done(place, self._reply(request))

    def score(self, requests: Sequence[ScoreRequest], done: Callable[[int, Scored], None]) -> None:
        """The answer that the rule would write gets 0, the others -1."""
        for place, request in enumerate(requests):
            self.asked.append(request)
            said = self._rule(prompt_text(request))
            told = tuple(0.0 if f'"{answer.strip()}"' in said else -1.0 for answer in request.answers)
            tokens = tuple(self.count_tokens(answer) for answer in request.answers)
            read = self.count_tokens(prompt_text(request)) + sum(tokens)
            done(place, AnswerScores(log_likelihoods=told, answer_tokens=tokens, prompt_tokens=read))

    def count_tokens(self, text: str) -> int:
        return count_tokens(text)

    def _reply(self, request: Request) -> Reply:
        read = self.count_tokens(prompt_text(request))
        if self.context_limit and read + request.max_tokens > self.context_limit:
            return TooLong(f"{read} + {request.max_tokens} tokens, {self.context_limit} are the limit")
        text = self._rule(prompt_text(request))
        ends = [found.end() for found in TOKEN.finditer(text)]
        finished = len(ends) <= request.max_tokens
        text = text if finished else text[: ends[request.max_tokens - 1]]
        return Completion(text=text, finished=finished, prompt_tokens=read, completion_tokens=self.count_tokens(text))


def _predicted(prompt: str) -> str:
    """The value that was last noted for the key in question; else the first allowed answer."""
    carried, _, now = prompt.partition(prompts.NOW)
    asked, options = _ASKED.search(now), _OPTIONS.search(prompt)
    known = dict(_SHOWN.findall(carried))
    first = options[1].split(", ")[0] if options else "0"
    return json.dumps({"answer": known.get(asked[1] or asked[2], first) if asked else first})


def _news(prompt: str) -> dict[str, str]:
    """The note of the step, by its key: a fact, or a cue with its outcome."""
    step = _between(prompt, prompts.INPUT, "")
    told, asked, outcome = _TOLD.search(step), _ASKED.search(step), _OUTCOME.search(step)
    if told:
        return {told[2]: told[1]}
    return {asked[1] or asked[2]: f"{asked[1] or asked[2]}: {outcome[1]}"} if asked and outcome else {}


def _as_edits(prompt: str, facts: dict[str, str], fitting: int) -> str:
    """The edits that turn the old notes into the newest `fitting` facts."""
    old = re.findall(rf"^(\d+)\. ({_PAIR})$", prompt, re.MULTILINE)
    kept = dict(list(facts.items())[len(facts) - fitting :])
    lines = [f"REMOVE {number}" for number, line, key, _ in old if kept.get(key) != line]
    held = {line for _, line, _, _ in old}
    lines += [f"ADD {SECTIONS[0]}: {line}" for line in kept.values() if line not in held]
    return "\n".join(lines) or "KEEP"


def _notes(lines: Sequence[str]) -> str:
    return "\n".join([f"{SECTIONS[0]}:", *lines, *(f"{section}:" for section in SECTIONS[1:])])


def _between(text: str, start: str, end: str) -> str:
    after = text.rpartition(start)[2]
    return after.partition(end)[0] if end else after
