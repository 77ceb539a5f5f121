"""From a question and its paragraphs to requests, and from the replies to an answer: plain chain of thought (`cot`),
chain of thought with the model's own searches executed (`regex`), and chain of thought over the paragraphs that BM25
ranks highest (`bm25`)."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from retrieval_gap.experiments.hotpotqa_llm.prompts import NEXT_EXAMPLE, prompt
from retrieval_gap.experiments.hotpotqa_llm.scoring import extracted_answer
from retrieval_gap.experiments.hotpotqa_llm.searching import END, FAILED, bm25_choice, regex_search, unfinished_search
from retrieval_gap.llm.config import AskConfig
from retrieval_gap.llm.request import Reply, Request, TooLong
from retrieval_gap.tasks.hotpotqa.data.subsets import Shown

Method = Literal["cot", "regex", "bm25"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A model's answer to a question.

    predicted: "" if it gave no answer.  text: all that it wrote, with the results of its searches.  gold_kept: number
    of gold paragraphs that it was given.  too_long: why the question could not be asked; it then counts in no share.
    read, written: tokens in all its requests.
    """

    predicted: str
    text: str
    searches: int = 0
    failed_searches: int = 0
    gold_kept: int = 0
    too_long: str = ""
    read: int = 0
    written: int = 0


Dialogue = Generator[Request, Reply, Answer]


def dialogue(shown: Shown, method: Method, config: AskConfig) -> Dialogue:
    """A generator that yields requests, is sent their replies, and returns the answer."""
    return _searching(shown, config) if method == "regex" else _answering(shown, method, config)


def _answering(shown: Shown, method: Method, config: AskConfig) -> Dialogue:
    asked, paragraphs = shown.question.question, shown.paragraphs
    if method == "bm25":
        paragraphs = bm25_choice(asked, paragraphs, config.top_k)
    kept = sum(paragraph.gold for paragraph in paragraphs)
    reply = yield Request(prompt=prompt(asked, paragraphs, "cot"), stop=NEXT_EXAMPLE, max_tokens=config.max_tokens)
    if isinstance(reply, TooLong):
        return Answer(predicted="", text="", gold_kept=kept, too_long=reply.told)
    return Answer(
        predicted=extracted_answer(reply.text),
        text=reply.text,
        gold_kept=kept,
        read=reply.prompt_tokens,
        written=reply.completion_tokens,
    )


def _searching(shown: Shown, config: AskConfig) -> Dialogue:
    """Execute each search that the model ends and append its result; the model continues from there.

    If the prompt becomes too long on the way, the answer ends there: the question itself did fit.
    """
    asked = prompt(shown.question.question, shown.paragraphs, "regex")
    results: list[str] = []
    written, own, read, tokens = "", "", 0, 0  # own: without search results, which are not the model's answer
    while True:
        reply = yield Request(prompt=asked, written=written, stop=(END, *NEXT_EXAMPLE), max_tokens=config.max_tokens)
        if isinstance(reply, TooLong):
            break
        # some tokenizers lose the space before a text's first word
        written += reply.text if written else f" {reply.text.lstrip()}"
        own += reply.text
        read, tokens = read + reply.prompt_tokens, tokens + reply.completion_tokens
        pattern = unfinished_search(reply.text) if reply.finished else None
        if pattern is None or len(results) == config.max_searches:
            break
        results.append(regex_search(pattern, shown.paragraphs))
        written += f"{END} {results[-1]}\n"
        own += f"{END}\n"
    return Answer(
        predicted=extracted_answer(own),
        text=written,
        searches=len(results),
        failed_searches=results.count(FAILED),
        gold_kept=sum(paragraph.gold for paragraph in shown.paragraphs),
        too_long=reply.told if isinstance(reply, TooLong) and not written else "",
        read=read,
        written=tokens,
    )
