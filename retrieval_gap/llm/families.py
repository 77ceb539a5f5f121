"""What is particular to families of models, in one place, so that one client serves Llama, Gemma and GPT alike.

The model's name decides the family.  A local model itself shows whether its chat template has a system turn, and how
long its context is.
Sources: the models' chat templates; OpenAI's reference of chat completions (`max_completion_tokens`); OpenAI's harmony
format (cookbook.openai.com/articles/openai-harmony).
"""

import re
from dataclasses import dataclass

# gpt-oss writes channels: `<|channel|>analysis<|message|>...<|end|>`, then the answer in `final`.
CHANNEL, FINAL = "<|channel|>", "<|channel|>final<|message|>"
_THINKING, _THOUGHT = "<think>", "</think>"
# Llama 3's templates write a date, by default today's; with this one a prompt is the same tomorrow.
# The template of gpt-oss takes none and writes today's.
DAY = "26 Jul 2024"


@dataclass(frozen=True, kw_only=True)
class Family:
    """names: a pattern of names.  system_turn: whether the chat template has a system turn.  limit: the server's name
    for the limit of a reply.  greedy: whether temperature and seed can be set; others always sample."""

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
    """The family of a model, by its name or the last part of its path."""
    name = model.rstrip("/").rpartition("/")[2].casefold()
    return next((family for family in FAMILIES if re.search(family.names, name)), OTHER)


def without_reasoning(text: str) -> str:
    """A text without the thinking before the answer: all up to </think> (a template may have written the <think>); with
    channels, all but the last final one.  "" if the thinking does not end."""
    if CHANNEL in text:
        _, ended, text = text.rpartition(FINAL)
        return re.split(r"<\|\w+\|>", text, maxsplit=1)[0] if ended else ""
    _, ended, answer = text.rpartition(_THOUGHT)
    if ended:
        return answer.lstrip()
    return "" if text.lstrip().startswith(_THINKING) else text


def template_values() -> dict[str, str]:
    """Values for chat templates besides the turns: a fixed date."""
    return {"date_string": DAY}
