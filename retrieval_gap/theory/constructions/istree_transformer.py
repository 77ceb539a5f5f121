"""IsTree by a Transformer of constant size with a chain of thought of O(n) tokens (theorem 4.7).

It writes the task's `cot` view: the tour of a depth-first search.  Only the tour is remembered; eight attention layers
compute each of its tokens anew.  A *half-edge* is a node's token in the prompt.  Half-edges of one node form a chain:
each knows the position of the one before it (0: none), so "the next edge of v after the half-edge at h" is the
half-edge of v that has h before it: an exact look-up of two numbers.

| layer | looks up |
|---|---|
| 1 | the last two tokens; the first `[EOS]` |
| 2 | in the prompt: where the same node was before; in the tour: where it was entered, and from where (its father) |
| 3 | the edge between the node and the one that the tour comes from |
| 4, 5 | the node's next half-edge after that one (its first if it was just entered); the edge's other end |
| 6, 7 | the half-edge after that, and its other end, in case the first leads to the father |
| 8 | whether the tour has been at that neighbour |

The answer follows from the length of the tour.  Only a tree's tour has 2n - 1 nodes; with the first `[EOS]` at
e = 3n - 2 and the second at s this is 3 s = 5 e + 4.

Source: "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), theorem 4.7, whose proof takes nine layers.
"""

from dataclasses import replace

from retrieval_gap.tasks.api import BOS, EOS, FALSE, TRUE, TaskConfig
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.tasks.istree.traces import EDGE, NODE_0
from retrieval_gap.theory.constructions.attention import BOS_FLAG, POSITION, Lookup
from retrieval_gap.theory.constructions.construction import Builder, Construction
from retrieval_gap.theory.constructions.feed_forward import at_least_one, is_zero, linear, relu, square, times
from retrieval_gap.theory.constructions.precision import Precision
from retrieval_gap.theory.constructions.program import ANSWER, TOKEN, Program
from retrieval_gap.theory.constructions.recall import begin, past
from retrieval_gap.theory.constructions.residual_stream import constant, direction, number, square_of

_REAL = 1.0 - direction(BOS_FLAG)
_IN_PROMPT = direction("is_node") - direction("in_tour")
_END, _NODE_0 = EOS - BOS, NODE_0 - BOS


def _read(program: Program) -> None:
    """Where the token is: in the prompt or in the tour, at an edge's first or second end."""
    begin(program)
    position, token = number(POSITION), number(TOKEN)
    end = {"end": direction(POSITION), "after_end": _REAL}
    program.attend(
        [
            *(Lookup({past(back): direction(TOKEN)}, [(position - back, position)]) for back in (1, 2)),
            Lookup(end, [(constant(_END), token)], prefer="earliest"),
        ],
        "the last two tokens; where the prompt ends",
    )
    program.feed_forward(
        {
            "is_node": at_least_one(direction(TOKEN) - _NODE_0 + 1),
            "second_end": is_zero(direction(past(1)) - (EDGE - BOS)),
            **{square_of(past(back)): square(direction(past(back))) for back in (1, 2)},
        },
        "is it a node, and an edge's second end?",
    )
    program.feed_forward({"in_tour": relu(direction("is_node") + direction("after_end") - 1.0)}, "a node of the tour?")
    last_met = Lookup({"last_met": direction(POSITION) - _REAL}, [(token, number(past(1)))], prefer="latest")
    entered = {"entered_at": direction(POSITION), "father": direction(past(1))}
    program.attend(
        [last_met, Lookup(entered, [(token, token)], where=direction("in_tour"), prefer="earliest")],
        "where the node stood before; where the tour entered it, and from which node",
    )


def _find_edge(program: Program) -> None:
    """The half-edge that the search used last: the one to the child that it comes back from, or none (0)."""
    rise = direction(TOKEN) - direction(past(1))
    program.feed_forward(
        {
            "greater": linear(direction(past(1))) + relu(rise),
            "lesser": linear(direction(TOKEN)) - relu(rise),
            "is_greater": at_least_one(rise),
            "is_new": is_zero(direction(POSITION) - direction("entered_at")),
            square_of("last_met"): square(direction("last_met")),
        },
        "this node and the one before it, by size; was it just entered?",
    )
    program.feed_forward({square_of(n): square(direction(n)) for n in ("greater", "lesser")}, "their squares")
    between = [(number("greater"), number(past(2))), (number("lesser"), number(TOKEN))]
    program.attend(
        [Lookup({"edge_at": direction(POSITION)}, between, where=direction("second_end"))],
        "the edge between this node and the one before it",
    )
    own_end = direction("edge_at") - direction("is_greater") * 2.0
    program.squared({"used": times(own_end, 1.0 - direction("is_new"))}, "the half-edge used last, 0 for none")


def _next_neighbour(program: Program, used: str, name: str) -> None:
    """The node's half-edge after `used`, as `name`_at, and the edge's other end, as `name`; both 0 for none."""
    at, side, found = f"{name}_at", f"{name}_side", f"{name}_found"
    program.attend(
        [
            Lookup(
                {at: direction(POSITION), side: direction("second_end"), found: _REAL},
                [(number(TOKEN), number(TOKEN)), (number(used), number("last_met"))],
                where=_IN_PROMPT,
            )
        ],
        f"the node's half-edge behind {used}",
    )
    other = direction(at) + direction(found) * 2.0 - direction(side) * 4.0
    program.feed_forward(
        {f"{name}_other": linear(other), square_of(at): square(direction(at))}, "where its other end is"
    )
    program.feed_forward({square_of(f"{name}_other"): square(direction(f"{name}_other"))}, "its square")
    program.attend(
        [Lookup({name: direction(TOKEN)}, [(number(f"{name}_other"), number(POSITION))])], "the node at the other end"
    )


def _answer(program: Program) -> None:
    """Go on to an unvisited neighbour, or back to the father; `[EOS]` at a visited one; then the answer."""
    end, position = direction("end"), direction(POSITION)
    program.feed_forward(
        {
            "has_next": at_least_one(direction("next")),
            "is_end": is_zero(direction(TOKEN) - _END),
            "is_first_end": is_zero(position - end),
            "is_closed": is_zero(3.0 * position - 5.0 * end - 4.0),
        },
        "is there a neighbour?  Is this [EOS], the first, and has the tour 2n - 1 nodes?",
    )
    onward = direction("has_next") - direction("visited")
    verdict = direction("is_closed") * (TRUE - FALSE) + (FALSE - BOS)
    program.feed_forward(
        {
            # The root's father is [EOS], the token before it.
            "in_tour_next": times(direction("father"), 1.0 - direction("has_next"))
            + times(direction("next"), onward)
            + linear(direction("visited") * _END),
            "at_end_next": times(_NODE_0, direction("is_first_end")) + times(verdict, 1.0 - direction("is_first_end")),
        },
        "what follows a node of the tour, and what follows [EOS]",
    )
    program.feed_forward(
        {
            ANSWER: times(direction("in_tour_next"), direction("in_tour"))
            + times(direction("at_end_next"), direction("is_end"))
        },
        "the one that applies",
    )


def _build(config: TaskConfig, precision: Precision) -> Construction:
    task = IsTree(replace(config, mode="cot"))
    program = Program(task.max_length, precision)
    _read(program)
    _find_edge(program)
    _next_neighbour(program, "used", "first")
    program.feed_forward({"is_father": is_zero(direction("first") - direction("father"))}, "is that the father?")
    _next_neighbour(program, "first_at", "second")
    skip = times(direction("second") - direction("first"), direction("is_father"))
    program.squared({"next": linear(direction("first")) + skip}, "the neighbour that is not the father")
    program.attend(
        [Lookup({"visited": _REAL}, [(number("next"), number(TOKEN))], where=direction("in_tour"))],
        "has the tour been there?",
    )
    _answer(program)
    return Construction(program, "4.7", len(task.vocabulary), max(task.max_length, len(task.vocabulary)))


BUILDERS = {("istree", "transformer_cot"): Builder("4.7", "cot", _build)}
