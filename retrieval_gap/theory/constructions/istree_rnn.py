"""IsTree with a search: a linear RNN of constant size writes the depth-first search of the `rag` view (theorem 5.3).

The text is the memory: fathers are written there as facts, edges are in the prompt, and every step searches for one of
them.  The state is eight numbers for any graph:

| register | what it holds |
|---|---|
| clock | which token of its pattern the text is at (control.py): `[ENDSEARCH]` is 0, `[EOS]` 4, `[STARTSEARCH]` 6 |
| asks_edge | 1 while the last sign was `-`, 0 while it was `~` |
| phase | queries since the visit began: 1 for each `~`, 4 for each `-` |
| v | the visited node |
| back_from | the child that the search came back from; 0 if v was just entered |
| father | the last answer to `~`: v's father, until the neighbour's father is searched |
| w | the last answer to `-`: the current neighbour |
| facts | number of fathers written: nodes found, except the root |

Phases: 0 the visit begins, 1 v's father is known, 5 a neighbour is known, 9 the neighbour after the father is known, 6
and 10 the neighbour's father is known (or that it has none).

Steps are O(n): each of the 2n - 1 visits writes at most four searches.
Source: "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), theorem 5.3 and algorithm 2.
"""

from dataclasses import replace

from retrieval_gap.tasks.api import ENDSEARCH, EOS, FAILED, FALSE, STARTSEARCH, TRUE, TaskConfig
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.tasks.istree.traces import EDGE, FATHER, NODE_0
from retrieval_gap.theory.constructions.construction import Builder, Construction
from retrieval_gap.theory.constructions.control import (
    CLOCK,
    Rule,
    clock,
    clock_is,
    held,
    is_token,
    number_of,
    rules,
)
from retrieval_gap.theory.constructions.feed_forward import is_zero, linear, times
from retrieval_gap.theory.constructions.precision import Precision
from retrieval_gap.theory.constructions.program import ANSWER, TOKEN, Program
from retrieval_gap.theory.constructions.recurrence import Register
from retrieval_gap.theory.constructions.residual_stream import direction

# Times of the clock: those of the tokens after an answer, then those of a query's tokens.
STOPPED, FOUND, NAMED, SIGNED, ENDED, ENTERED = range(6)
STARTED, SUBJECT, SIGN, OBJECT = range(6, 10)
PHASES = (0, 1, 5, 6, 9, 10)

token, v, w, father, back_from = (direction(name) for name in (TOKEN, "v", "w", "father", "back_from"))
asks_edge, facts = direction("asks_edge"), direction("facts")


def _flags(program: Program) -> None:
    signs = {"is_edge": EDGE, "is_father": FATHER, "is_failed": FAILED}
    brackets = {"is_start": STARTSEARCH, "is_stop": ENDSEARCH, "is_end": EOS}
    program.feed_forward({name: is_token(t) for name, t in (brackets | signs).items()}, "which token is this?")
    is_sign = direction("is_edge") + direction("is_father")
    control = {
        CLOCK: clock({"is_start": STARTED, "is_stop": STOPPED, "is_end": ENDED}),
        "asks_edge": held("asks_edge", is_sign, direction("is_edge")),
    }
    program.recur(control, "where in its pattern the text is, and the last sign")


def at(time: int) -> str:
    """The direction that is 1 at this time of the clock."""
    return f"at_{time}"


def _events(program: Program) -> None:
    """Events: which register this token is for."""
    clocks = {at(time): clock_is(time) for time in range(FOUND, OBJECT + 1)}
    program.feed_forward(clocks, "which time is it?")
    found, entered, returned = (direction(at(time)) for time in (FOUND, ENTERED, NAMED))
    events = {
        "finds_w": times(asks_edge, found),
        "finds_father": times(1.0 - asks_edge, found),
        "returns": times(asks_edge, returned),
        "visits": linear(entered) + times(asks_edge, returned),
    }
    program.feed_forward(events, "answer to `-`, answer to `~`, node at a return, node at any visit")
    names = ("finds_w", "finds_father", "visits")
    program.feed_forward({f"{name}_token": times(token, direction(name)) for name in names}, "the token of each event")


def _registers(program: Program) -> None:
    visits = direction("visits")
    registers = {
        "v": held("v", visits, direction("visits_token")),
        "w": held("w", direction("finds_w"), direction("finds_w_token")),
        "father": held("father", direction("finds_father"), direction("finds_father_token")),
        # At a return, v as it was before this token; else 0.
        "back_from": Register(back_from, ((visits, -back_from), (direction("returns"), v))),
        "phase": held("phase", visits, direction("is_father") + direction("is_edge") * 4.0),
        "facts": Register(facts, add=direction(at(SIGNED))),
    }
    program.recur(registers, "nodes at hand, what was asked since the visit began, facts written")


def _tests(program: Program, n: int) -> None:
    tests = {f"phase_{phase}": is_zero(direction("phase") - float(phase)) for phase in PHASES} | {
        "w_is_father": is_zero(w - father),
        "w_is_root": is_zero(w - number_of(NODE_0)),
        "at_root": is_zero(father - number_of(FAILED)),
        "just_entered": is_zero(back_from),
        "found_all": is_zero(facts - (n - 1.0)),
    }
    program.feed_forward(tests, "what holds of the registers?")


def _rules() -> list[Rule]:
    """The next token, by time, phase and tests."""
    phase = {number: direction(f"phase_{number}") for number in PHASES}
    has_w, has_verdict = phase[5] + phase[9], phase[6] + phase[10]
    w_is_father, failed = direction("w_is_father"), direction("is_failed")
    start, stop, end = number_of(STARTSEARCH), number_of(ENDSEARCH), number_of(EOS)
    edge, tilde = number_of(EDGE), number_of(FATHER)
    asked, subject, signed, with_object = (direction(at(time)) for time in (STARTED, SUBJECT, SIGN, OBJECT))
    times_after = (FOUND, NAMED, SIGNED, ENDED, ENTERED)
    found, third, fourth, fifth, entered = (direction(at(time)) for time in times_after)
    is_end, is_edge = direction("is_end"), direction("is_edge")
    just_entered, at_root = direction("just_entered"), direction("at_root")
    fathers_turn = phase[0] + phase[1]
    return [
        # After [STARTSEARCH]: the node of the query.
        (v, (asked, fathers_turn)),
        (v, (asked, has_w, w_is_father)),
        (w, (asked, has_w, 1.0 - w_is_father)),
        # After that node: the sign.
        (tilde, (subject, phase[0])),
        (edge, (subject, phase[1])),
        (edge, (subject, has_w, w_is_father)),
        (tilde, (subject, has_w, 1.0 - w_is_father)),
        # After the sign: the end, or the other node of the edge whose successor is searched; then the end.
        (stop, (signed, 1.0 - is_edge)),
        (stop, (signed, is_edge, phase[5], just_entered)),
        (back_from, (signed, is_edge, phase[5], 1.0 - just_entered)),
        (w, (signed, is_edge, phase[9])),
        (stop, (with_object,)),
        # After the result: v's father, a neighbour, no neighbour, a neighbour's father.
        (start, (found, phase[1])),
        (start, (found, has_w, 1.0 - failed)),
        (father, (found, has_w, failed, 1.0 - at_root)),
        (end, (found, has_w, failed, at_root)),
        (w, (found, has_verdict, failed, 1.0 - direction("w_is_root"))),
        (end, (found, has_verdict, failed, direction("w_is_root"))),
        (end, (found, has_verdict, 1.0 - failed)),
        # A return begins a visit; otherwise a fact is written, then its node is entered.
        (start, (third, phase[0])),
        (tilde, (third, 1.0 - phase[0])),
        (v, (fourth,)),
        (w, (fifth, 1.0 - is_end)),
        (start, (entered,)),
        # After [EOS]: the root if it ends the prompt, the answer if it ends the search.
        (number_of(NODE_0), (is_end, 1.0 - has_w - has_verdict)),
        (number_of(TRUE), (is_end, has_w, direction("found_all"))),
        (number_of(FALSE), (is_end, has_w, 1.0 - direction("found_all"))),
        (number_of(FALSE), (is_end, has_verdict)),
    ]


def istree_program(task: IsTree, precision: Precision) -> Program:
    """The layers, for graphs of `task.config.n` nodes."""
    program = Program(task.max_length, precision, positions=False)
    _flags(program)
    _events(program)
    _registers(program)
    _tests(program, task.config.n)
    program.feed_forward({ANSWER: rules(_rules())}, "the next token")
    return program


def _build(config: TaskConfig, precision: Precision) -> Construction:
    task = IsTree(replace(config, mode="rag"))
    vocab_size = len(task.vocabulary)
    return Construction(istree_program(task, precision), "5.3", vocab_size, max(vocab_size, 2**5))


BUILDERS = {("istree", "rnn_rag"): Builder("5.3", "rag", _build)}
