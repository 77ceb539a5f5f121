"""The recall tasks with a search: a linear RNN of constant size (theorem 5.2).

The state is a clock (see control.py) and one register for each token of the question: as many numbers as the question
has tokens, plus one, for any n.  The clock starts at the `[EOS]` that ends the sequence; the state holds nothing of the
sequence itself.  After the question the clock alone decides what is written: the pieces of a regular expression, with
the contents of the registers between them.  The result of the search goes into the first register, and is written again
after the second `[EOS]`.

| layer | what it writes |
|---|---|
| feed-forward | is this `[EOS]`? |
| recurrence | the clock |
| feed-forward | how many tokens ago was `[EOS]`? |
| feed-forward | the token, when it is time to hold it |
| recurrence | the registers |
| feed-forward | (counting) did the search fail? |
| feed-forward | the next token, by the time |

MQAR queries every key, among fillers, without a mark.  So its clock starts at `[STARTSEARCH]`, which is written
wherever nothing else is, but counts only where the decoder lets the model write; the register holds the word before it.

Source: "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), theorem 5.2.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from retrieval_gap.tasks.api import ENDSEARCH, EOS, FAILED, FALSE, STARTSEARCH, TRUE, Task, TaskConfig
from retrieval_gap.tasks.associative_recall import NEXT, WORD, AssociativeRecall
from retrieval_gap.tasks.cgram_retrieval import SPACE, CgramRetrieval
from retrieval_gap.tasks.counting import END, ONCE_MORE, SEEK, TIMES, Counting
from retrieval_gap.tasks.index import CAPTURE, SKIP, Index
from retrieval_gap.tasks.mqar import Mqar
from retrieval_gap.tasks.recall import RecallTask
from retrieval_gap.theory.constructions.construction import Builder, Construction, check_asked_last
from retrieval_gap.theory.constructions.control import (
    CLOCK,
    Rule,
    Value,
    clock,
    clock_is,
    held,
    is_token,
    number_of,
    rules,
)
from retrieval_gap.theory.constructions.feed_forward import is_zero, times
from retrieval_gap.theory.constructions.precision import Precision
from retrieval_gap.theory.constructions.program import ANSWER, TOKEN, Program
from retrieval_gap.theory.constructions.residual_stream import direction

IS_END, FAILED_FLAG = "is_end", "failed"


@dataclass(frozen=True)
class SearchQuestion:
    """The search that follows a question.

    tokens: number of tokens of the question.  pieces: spellings of the regular expression's pieces; a number is the
    register of that question token.  decides: whether the answer is `[TRUE]` or `[FALSE]`, depending on whether the
    search found something, instead of the result.
    """

    tokens: int
    pieces: tuple[str | int, ...]
    decides: bool = False


def _index(task: Any) -> SearchQuestion:
    return SearchQuestion(1, (SKIP, 0, CAPTURE))


def _associative_recall(task: Any) -> SearchQuestion:
    return SearchQuestion(1, (WORD, 0, NEXT))


def _cgram_retrieval(task: Any) -> SearchQuestion:
    key = task.options.c - 1
    spaced = [piece for place in range(key) for piece in (SPACE, place)]
    return SearchQuestion(key, (WORD, *spaced[1:], NEXT))


def _counting(task: Any) -> SearchQuestion:
    return SearchQuestion(2, (SEEK, 0, TIMES, 1, ONCE_MORE, 0, END), decides=True)


_QUESTIONS: dict[type[RecallTask], Callable[[Any], SearchQuestion]] = {
    Index: _index,
    AssociativeRecall: _associative_recall,
    CgramRetrieval: _cgram_retrieval,
    Counting: _counting,
}


def register(place: int) -> str:
    """The direction of the register for this token of the question; the first one later holds the result."""
    return f"held_{place}"


def read(place: int) -> str:
    """The direction that holds the present token when it is time for register `place`, else 0."""
    return f"read_{place}"


def at(ago: int) -> str:
    """The direction that is 1 where `[EOS]` was `ago` tokens ago."""
    return f"end_{ago}_ago"


def _written(task: Task, question: SearchQuestion) -> list[Value]:
    """The tokens from `[STARTSEARCH]` to `[ENDSEARCH]`: constants and registers."""
    pieces: list[Value] = [
        direction(register(piece)) if isinstance(piece, int) else number_of(task.vocabulary.index(piece))
        for piece in question.pieces
    ]
    return [number_of(STARTSEARCH), *pieces, number_of(ENDSEARCH)]


def recall_program(task: Task, question: SearchQuestion, precision: Precision) -> Program:
    """The layers in the table above."""
    program = Program(task.max_length, precision, positions=False)
    program.feed_forward({IS_END: is_token(EOS)}, "is this [EOS]?")
    program.recur({CLOCK: clock({IS_END: 0})}, "2 to the power of minus how many tokens ago [EOS] was")

    written = _written(task, question)
    found_at = question.tokens + len(written) + 1
    program.feed_forward({at(ago): clock_is(ago) for ago in range(found_at + 1)}, "which time is it?")
    holds = {place: direction(at(place + 1)) for place in range(question.tokens)}
    holds[0] = holds[0] + direction(at(found_at))
    program.feed_forward({read(place): times(direction(TOKEN), when) for place, when in holds.items()}, "what to hold")
    registers = {register(place): held(register(place), when, direction(read(place))) for place, when in holds.items()}
    program.recur(registers, "the tokens of the question; later, in the first register, what was found")

    answer = found = direction(register(0))
    if question.decides:
        program.feed_forward({FAILED_FLAG: is_zero(found - number_of(FAILED))}, "did the search fail?")
        answer = direction(FAILED_FLAG) * (FALSE - TRUE) + number_of(TRUE)
    says: dict[int, Value] = {0: answer, found_at: number_of(EOS)}
    says |= {question.tokens + place: value for place, value in enumerate(written)}
    table = [(value, (direction(at(ago)),)) for ago, value in says.items()]
    program.feed_forward({ANSWER: rules(table)}, "the next token, by the time")
    return program


def mqar_program(task: Task, precision: Precision) -> Program:
    """MQAR's program.  Its state is two numbers: a clock that starts at `[STARTSEARCH]`, and the word before it."""
    program = Program(task.max_length, precision, positions=False)
    program.feed_forward({"is_start": is_token(STARTSEARCH)}, "is this [STARTSEARCH]?")
    program.recur({CLOCK: clock({"is_start": 0})}, "2 to the power of minus how many tokens ago [STARTSEARCH] was")
    asked, begun, keyed, ended, found = (direction(f"start_{ago}_ago") for ago in (0, 1, 2, 3, 5))
    program.feed_forward({f"start_{ago}_ago": clock_is(ago) for ago in (0, 1, 2, 3, 5)}, "which time is it?")
    is_word = 1.0 - asked - begun
    program.feed_forward({"word": times(direction(TOKEN), is_word)}, "the token, but for those of a search's beginning")
    program.recur({"key": held("key", is_word, direction("word"))}, "the word before the search")
    pieces = [number_of(task.vocabulary.index(piece)) for piece in (WORD, NEXT)]
    table: list[Rule] = [
        (pieces[0], (asked,)),
        (direction("key"), (begun,)),
        (pieces[1], (keyed,)),
        (number_of(ENDSEARCH), (ended,)),
        (direction(TOKEN), (found,)),
        (number_of(STARTSEARCH), (1.0 - (asked + begun + keyed + ended + found),)),
    ]
    program.feed_forward({ANSWER: rules(table)}, "the next token, by the time")
    return program


def _build_mqar(config: TaskConfig, precision: Precision) -> Construction:
    task = Mqar(replace(config, mode="rag"))
    return Construction(mqar_program(task, precision), "5.2", len(task.vocabulary), len(task.vocabulary))


def _build(kind: type[RecallTask], config: TaskConfig, precision: Precision) -> Construction:
    task = kind(replace(config, mode="rag"))
    check_asked_last(task)
    question = _QUESTIONS[kind](task)
    last_time, vocab_size = question.tokens + len(question.pieces) + 3, len(task.vocabulary)
    # The square of the largest token's number must be exact, and so must the clock.
    largest = max(vocab_size, 2 ** (last_time // 2))
    return Construction(recall_program(task, question, precision), "5.2", vocab_size, largest)


BUILDERS = {(kind.name, "rnn_rag"): Builder("5.2", "rag", partial(_build, kind)) for kind in _QUESTIONS} | {
    (Mqar.name, "rnn_rag"): Builder("5.2", "rag", _build_mqar)
}
