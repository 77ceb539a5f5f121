"""Answers of a model: written as JSON, or chosen by the likelihood of each allowed answer."""

import json
import re
from typing import Any

from retrieval_gap.llm.cache import Kept
from retrieval_gap.llm.request import Request, Scored, ScoreRequest, TooLong
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.tasks.streams.scores import LARGEST_NUMBER, TOP
from retrieval_gap.tasks.streams.stream import Step, Target, Value
from retrieval_gap.text_memory.prompts import ANSWER, PREDICT, prediction
from retrieval_gap.text_memory.settings import AnswerForm, Settings
from retrieval_gap.text_memory.written_json import read_json

ANSWER_TOKENS = {"choice": 48, "number": 48, "text": 96, "ranked": 256}
_OBJECT = re.compile(r"\{[^{}]*\}", re.DOTALL)


def check_answer_form(target: Target, form: AnswerForm) -> None:
    """Raises UsageError if answers are to be scored but the target lists none."""
    if form in ("score", "calibrated") and not target.options:
        raise UsageError(f"--answer {form} needs a list of allowed answers, which {target.name} does not have")


def prediction_request(target: Target, carried: str, now: Step, settings: Settings) -> Request | ScoreRequest:
    """The request for the prediction of one step."""
    if settings.answer in ("score", "calibrated"):
        return score_request(target, carried, now.text(), now.lead)
    prompt = prediction(target, carried, now.text(), f"Answer with JSON: {_example(target)}")
    return Request(
        system=PREDICT,
        prompt=prompt,
        max_tokens=ANSWER_TOKENS[target.kind],
        temperature=settings.temperature,
        draw=settings.draw,
        schema=json.dumps(_schema(target)) if settings.answer == "grammar" else "",
    )


def score_request(target: Target, carried: str, now: str, lead: str) -> ScoreRequest:
    """The request for the likelihood of each allowed answer.  now: the step's input; `NOTHING` to calibrate answers."""
    return ScoreRequest(
        system=PREDICT,
        prompt=prediction(target, carried, now, ""),
        written=lead or ANSWER,
        answers=tuple(f" {option}" for option in target.options),
    )


def chosen(target: Target, scored: Scored, without: Scored | None) -> Value:
    """The likeliest allowed answer.  without: the likelihoods for an input without content, if answers are calibrated.

    Raises RunError for a prompt that does not fit.
    """
    found = fitting(scored)
    return target.options[(found.calibrated(fitting(without)) if without is not None else found).best]


def fitting(reply: Kept | TooLong) -> Kept:
    """The reply.  Raises RunError for a prompt that does not fit into the model's context."""
    if isinstance(reply, TooLong):
        raise RunError(
            f"a prompt does not fit into the model's context ({reply.told}); a smaller --budget, or a model with a "
            "larger context, is needed"
        )
    return reply


def parsed(target: Target, text: str) -> Value | None:
    """The answer in a text's last JSON object that has one, None if none does; nothing is guessed from prose."""
    for found in reversed(_OBJECT.findall(text)):
        try:
            value = read_json(found)
        except (ValueError, RecursionError):
            continue
        answer = value.get("answer") if isinstance(value, dict) else None
        if answer is not None:
            return _typed(target, answer)
    return None


def shown(value: Value | None) -> str:
    """A value as text, for prompts and people."""
    if value is None:
        return ""
    if isinstance(value, float | int):
        return f"{value:.2f}"
    return "; ".join(value[:TOP]) if isinstance(value, tuple) else value


def _typed(target: Target, answer: Any) -> Value | None:
    if target.kind == "number":
        return _number(answer)
    if target.kind == "ranked":
        listed = answer if isinstance(answer, list) else [answer]
        return tuple(str(each).strip() for each in listed if str(each).strip())[:TOP] or None
    text = str(answer).strip()
    if target.kind == "choice":
        return next((option for option in target.options if option.casefold() == text.casefold()), None)
    return text or None


def _number(answer: Any) -> float | None:
    """The number; None for other text (1_0 too, which Python alone reads as 10), NaN and beyond LARGEST_NUMBER."""
    if isinstance(answer, bool) or "_" in str(answer):
        return None
    try:
        value = float(str(answer).strip().rstrip("%").strip())
    except ValueError:
        return None
    return value if abs(value) <= LARGEST_NUMBER else None


def _example(target: Target) -> str:
    if target.kind == "number":
        return '{"answer": number}'
    return '{"answer": ["first", "second"]}' if target.kind == "ranked" else '{"answer": "..."}'


def _schema(target: Target) -> dict[str, Any]:
    kinds: dict[str, dict[str, Any]] = {
        "choice": {"enum": list(target.options)},
        "number": {"type": "number"},
        "text": {"type": "string"},
        "ranked": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": TOP},
    }
    return {"type": "object", "properties": {"answer": kinds[target.kind]}, "required": ["answer"]}
