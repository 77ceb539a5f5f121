"""The recall tasks, answered directly: by a Transformer of constant size (theorem 4.6), and by recurrent layers with
one attention layer (theorem 5.6).

Both are the same program.  At each token it needs the tokens before and the position; attention finds them by looking
back, a recurrence by remembering.  Then one look-up answers.

| task | the look-up, at the question's last token |
|---|---|
| index | the token at the position in the question |
| copy | the token whose place after `[BOS]` is that of the next token after `[EOS]` |
| associative recall, mqar | the earliest token that is preceded by the key |
| c-gram retrieval | the earliest token that is preceded by the c - 1 tokens of the key |
| counting | the mean of a flag of `[BOS]` over it and each occurrence of the letter: 1 / (1 + occurrences) |

Source: "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), theorems 4.6 and 5.6; docs/constructions.md says
where these differ from the proofs.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from retrieval_gap.tasks.api import BOS, EOS, FALSE, TRUE, TaskConfig
from retrieval_gap.tasks.associative_recall import AssociativeRecall
from retrieval_gap.tasks.cgram_retrieval import CgramRetrieval
from retrieval_gap.tasks.copy import Copy
from retrieval_gap.tasks.counting import Counting
from retrieval_gap.tasks.index import VALUE_0, Index
from retrieval_gap.tasks.mqar import Mqar
from retrieval_gap.tasks.recall import RecallTask
from retrieval_gap.theory.constructions.attention import BOS_FLAG, POSITION, Lookup
from retrieval_gap.theory.constructions.construction import Builder, Construction, check_asked_last
from retrieval_gap.theory.constructions.feed_forward import is_zero, linear, relu, square, times
from retrieval_gap.theory.constructions.precision import Precision
from retrieval_gap.theory.constructions.program import ANSWER, TOKEN, Program
from retrieval_gap.theory.constructions.recurrence import Register
from retrieval_gap.theory.constructions.residual_stream import ONE, constant, direction, number, square_of

PLACE = "place"  # of the next token after `[EOS]`, counted from 1


def begin(program: Program, squares: Iterable[str] = (TOKEN, POSITION)) -> None:
    """Add a layer with the flag of `[BOS]`, and with squares of directions that the stream begins with."""
    writes = {square_of(name): square(direction(name)) for name in squares}
    program.feed_forward({BOS_FLAG: is_zero(direction(TOKEN))} | writes, "is this [BOS]?  Squares, for look-ups")


def past(back: int) -> str:
    """The direction of the token `back` positions ago."""
    return TOKEN if back == 0 else f"token_{back}_ago"


@dataclass(frozen=True)
class Lookups:
    """What a program needs to know of the past.

    numbers: directions used in look-ups, as query or key.  history: number of tokens before the present one.  place:
    whether to compute `PLACE`.
    """

    numbers: tuple[str, ...]
    history: int = 0
    place: bool = False


def by_attention(program: Program, wanted: Lookups) -> None:
    """The past by look-ups: tokens at earlier positions, the position of `[EOS]`."""
    own = {POSITION} if wanted.history or wanted.place else set[str]()
    own |= {TOKEN} if wanted.place else set()
    begin(program, [name for name in (TOKEN, POSITION) if name in own | set(wanted.numbers)])
    position = number(POSITION)
    heads = [Lookup({past(k): direction(TOKEN)}, [(position - k, position)]) for k in range(1, wanted.history + 1)]
    if wanted.place:
        heads.append(Lookup({"end": direction(POSITION)}, [(constant(EOS - BOS), number(TOKEN))]))
    if heads:
        program.attend(heads, "what stands at earlier positions")
    if wanted.place:
        program.feed_forward({PLACE: linear(direction(POSITION) - direction("end") + 1)}, "place of the next token")
    _square(program, [name for name in wanted.numbers if name not in (TOKEN, POSITION)])


def by_recurrence(program: Program, wanted: Lookups) -> None:
    """The past by memory: a position counter, a shift register of tokens, a place counted from `[EOS]` on."""
    begin(program, [TOKEN] if TOKEN in wanted.numbers else [])
    registers = {POSITION: Register(direction(POSITION), add=1.0 - direction(BOS_FLAG))}
    if wanted.history:
        # The present token is in a register too, from which the next step takes it.
        registers |= {"last": Register(add=direction(TOKEN)), past(1): Register(direction("last"))}
        registers |= {past(k): Register(direction(past(k - 1))) for k in range(2, wanted.history + 1)}
    if wanted.place:
        program.feed_forward({"is_end": is_zero(direction(TOKEN) - (EOS - BOS))}, "is this [EOS]?")
        registers[PLACE] = Register(direction(PLACE), ((direction("is_end"), -direction(PLACE)),), direction(ONE))
    program.recur(registers, "position and earlier tokens, remembered")
    _square(program, [name for name in wanted.numbers if name != TOKEN])


def _square(program: Program, names: Sequence[str]) -> None:
    if names:
        program.feed_forward({square_of(name): square(direction(name)) for name in names}, "squares, for look-ups")


Past = Callable[[Program, Lookups], None]


def _index(task: Any, program: Program, see: Past) -> None:
    see(program, Lookups((TOKEN, POSITION)))
    asked = number(TOKEN) - (VALUE_0 + task.options.values - 1 - BOS)
    program.attend(
        [Lookup({ANSWER: direction(TOKEN)}, [(asked, number(POSITION))])], "the token at the position asked for"
    )


def _copy(task: Any, program: Program, see: Past) -> None:
    see(program, Lookups((PLACE, POSITION), place=True))
    look_up = Lookup({ANSWER: direction(TOKEN)}, [(number(PLACE), number(POSITION))])
    program.attend([look_up], "the token at the place of the next one")


def _preceded(program: Program, see: Past, key_tokens: int) -> None:
    """Add the look-up of the earliest token that followed the present last `key_tokens` tokens."""
    see(program, Lookups(tuple(past(k) for k in range(key_tokens + 1)), history=key_tokens))
    match = [(number(past(back)), number(past(back + 1))) for back in range(key_tokens)]
    program.attend(
        [Lookup({ANSWER: direction(TOKEN)}, match, prefer="earliest")], "the token that stood behind the same key"
    )


def _associative_recall(task: Any, program: Program, see: Past) -> None:
    _preceded(program, see, 1)


def _cgram_retrieval(task: Any, program: Program, see: Past) -> None:
    _preceded(program, see, task.options.c - 1)


def _counting(task: Any, program: Program, see: Past) -> None:
    see(program, Lookups((TOKEN, past(1)), history=1))
    share = Lookup({"share": direction(BOS_FLAG)}, [(number(past(1)), number(TOKEN))], null=0.0)
    program.attend([share], "1 / (1 + occurrences of the letter, that in the question included)")
    first_threshold = task.vocabulary.index("0") - BOS
    # More than k in the sequence: 1 + occurrences is k + 3 or more, else k + 2 or less.
    limit = direction(TOKEN) - first_threshold + 2.5
    program.feed_forward({"margin": linear(1.0) - times(limit, direction("share"))}, "1 - (threshold + 2.5) * share")
    sharp = direction("margin") * (2.0 * (task.options.most + 3))
    more = (relu(sharp) - relu(sharp - 1.0)) * (TRUE - FALSE)
    program.feed_forward({ANSWER: more + linear(float(FALSE - BOS))}, "[TRUE] where the margin is above 0")


_PROGRAMS: dict[type[RecallTask], Callable[[Any, Program, Past], None]] = {
    Index: _index,
    AssociativeRecall: _associative_recall,
    CgramRetrieval: _cgram_retrieval,
    Counting: _counting,
    Mqar: _associative_recall,
    Copy: _copy,
}


def _build(kind: type[RecallTask], theorem: str, see: Past, config: TaskConfig, precision: Precision) -> Construction:
    task = kind(replace(config, mode="direct"))
    check_asked_last(task)
    program = Program(task.max_length, precision, positions=see is by_attention)
    _PROGRAMS[kind](task, program, see)
    return Construction(program, theorem, len(task.vocabulary), max(task.max_length, len(task.vocabulary)))


BUILDERS = {
    (kind.name, how): Builder(theorem, "direct", partial(_build, kind, theorem, see))
    for kind in _PROGRAMS
    for how, theorem, see in (("transformer", "4.6", by_attention), ("hybrid", "5.6", by_recurrence))
}
