"""What is particular to families of models, in one place, so that one client asks Llama, Gemma and GPT alike.

A family is told by the model's name.  A local model says most of it itself: whether its chat template has a system's
turn, and how long its context is.
Sources: the models' chat templates; OpenAI's reference of chat completions (`max_completion_tokens`); OpenAI's harmony
format (cookbook.openai.com/articles/openai-harmony).
"""

import re
from dataclasses import dataclass

# gpt-oss writes channels: `<|channel|>analysis<|message|>...<|end|>`, then the answer in `final`.
CHANNEL, FINAL = "<|channel|>", "<|channel|>final<|message|>"
_THINKING, _THOUGHT = "<think>", "</think>"
# Templates of Llama 3 write a date, today's unless they are given one: with this one a prompt is the same tomorrow.
# That of gpt-oss takes none and writes today's.
DAY = "26 Jul 2024"


@dataclass(frozen=True, kw_only=True)
class Family:
    """names: a pattern of names.  system_turn: whether its template takes a system's turn.  limit: what a server calls
    the limit of a reply.  greedy: whether temperature and seed may be set; others sample as they like."""

    name: str
    names: str
    system_turn: bool = True
    limit: str = "max_tokens"
    greedy: bool = True


FAMILIES = (
    Family(name="llama", names=r"llama|smollm"),
    Family(name="gemma", names=r"gemma", system_turn=False),
    Family(name="gpt, thinking", names=r"^(?:gpt-5|o\d)(?!.*chat)", limit="max_completion_tokens", greedy=False),
    Family(name="gpt", names=r"gpt"),
)
OTHER = Family(name="other", names="")


def family_of(model: str) -> Family:
    """The family of a model's name, or of the last part of its path."""
    name = model.rstrip("/").rpartition("/")[2].casefold()
    return next((family for family in FAMILIES if re.search(family.names, name)), OTHER)


def without_reasoning(text: str) -> str:
    """A text without what a model thinks before it answers: between <think> and </think>, or up to the latter, as
    templates may begin it; in channels, all but the last final one.  "" where the thinking does not end."""
    if CHANNEL in text:
        _, ended, text = text.rpartition(FINAL)
        return re.split(r"<\|\w+\|>", text, maxsplit=1)[0] if ended else ""
    _, ended, answer = text.rpartition(_THOUGHT)
    if ended:
        return answer.lstrip()
    return "" if text.lstrip().startswith(_THINKING) else text


def template_values() -> dict[str, str]:
    """What chat templates are given besides the turns: a date that does not change."""
    return {"date_string": DAY}
