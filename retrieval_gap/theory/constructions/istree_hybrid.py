"""IsTree by recurrent layers of O(log n) bits and one attention layer, with a chain of thought of O(n) tokens
(theorem 5.7).

The recurrence remembers the last seven tokens, its place in a record or frame, and six counts; istree_frames.py
describes the trace.  The attention layer has four heads: a node of the prompt, a node's latest record, its next edge,
and the frame in which the search entered a node.  Feed-forward layers before it form the queries; those after it choose
the token.

Source: "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), theorem 5.7.
"""

from retrieval_gap.tasks.api import BOS, EOS, FAILED, FALSE, TRUE, TaskConfig
from retrieval_gap.tasks.istree.traces import EDGE, NODE_0
from retrieval_gap.theory.constructions.attention import BOS_FLAG, POSITION, Lookup
from retrieval_gap.theory.constructions.construction import Builder, Construction
from retrieval_gap.theory.constructions.feed_forward import chosen, is_zero, linear, relu, square, times
from retrieval_gap.theory.constructions.istree_frames import IsTreeFrames
from retrieval_gap.theory.constructions.precision import Precision
from retrieval_gap.theory.constructions.program import ANSWER, TOKEN, Program
from retrieval_gap.theory.constructions.recall import past
from retrieval_gap.theory.constructions.recurrence import Register
from retrieval_gap.theory.constructions.residual_stream import ONE, Affine, direction, number, square_of

HISTORY = 6
_NONE, _END, _NODE_0 = FAILED - BOS, EOS - BOS, NODE_0 - BOS
_ago = [direction(past(back)) for back in range(HISTORY + 1)]
# One flag for each place in a record (four tokens) or a frame (five): how many of its tokens have been read.
_record, _frame = ([direction(f"{name}_{j}") for j in range(size)] for name, size in (("record", 4), ("frame", 5)))
_is_end, _is_none = direction("is_end"), direction("is_none")


def _remember(program: Program) -> None:
    """Flags of the token, then the recurrence."""
    program.feed_forward(
        {
            BOS_FLAG: is_zero(direction(TOKEN)),
            "is_end": is_zero(direction(TOKEN) - _END),
            "is_none": is_zero(direction(TOKEN) - _NONE),
            "is_edge": is_zero(direction(TOKEN) - (EDGE - BOS)),
        },
        "which control token is this?",
    )
    count = {
        POSITION: Register(direction(POSITION), add=1.0 - direction(BOS_FLAG)),
        "ends": Register(direction("ends"), add=_is_end),
        "edges": Register(direction("edges"), add=direction("is_edge")),
        "records": _restarted(direction("records") + _record[3]),
        "found": _restarted(direction("found"), ((_is_none, _frame[2]),)),
        "found_before": Register(direction("found")),
    }
    tokens = {"last": Register(add=direction(TOKEN)), past(1): Register(direction("last"))}
    tokens |= {past(back): Register(_ago[back - 1]) for back in range(2, HISTORY + 1)}
    program.recur(
        count | tokens | _cycle("record", 4) | _cycle("frame", 5), "counts, the last tokens, place in a frame"
    )


def _restarted(form: Affine, gated: tuple[tuple[Affine, Affine], ...] = ()) -> Register:
    """A register that becomes `form`, and 0 at `[EOS]`."""
    return Register(form, (*gated, (_is_end, -form)))


def _cycle(name: str, size: int) -> dict[str, Register]:
    """Flags, one of which is 1: the first one at `[EOS]`, then the next one with each token."""
    flags = [direction(f"{name}_{j}") for j in range(size)]
    turned = {f"{name}_{j}": _restarted(flags[j - 1]) for j in range(size)}
    first = turned[f"{name}_0"]
    return turned | {f"{name}_0": Register(first.keep, first.gated, _is_end)}


def _ask(program: Program) -> None:
    """The queries and keys of each head."""
    program.feed_forward(
        {f"in_{k}": is_zero(direction("ends") - k) for k in (1, 2, 3)}
        | {square_of(name): square(direction(name)) for name in (TOKEN, POSITION, past(1), past(2))},
        "in the records, in the frames, or at the end?",
    )
    in_1, in_2, in_3 = (direction(f"in_{k}") for k in (1, 2, 3))
    program.feed_forward(
        {
            "is_record": times(in_1, _record[3] + _record[0] - _is_end),
            "is_entry": relu(in_2 + _frame[3] + _is_none - 2.0),
            "place": linear(direction("records") * 3.0 + _record[1] * 2.0 + 1.0),
            "node": chosen(_frame[3:], _ago[2:4]),
            "edge": chosen(_frame[3:], _ago[0:2]),
            "entered": chosen(_frame[:3], [_ago[0], _ago[0], _ago[6]]),
            # Of the previous frame: what it found, its father, its node.
            "w": chosen(_frame[:3], _ago[0:3]),
            "f": chosen(_frame[:3], _ago[3:6]),
            "v": chosen(_frame[:3], _ago[4:7]),
            **{f"now_record_{j}": times(in_1, _record[j]) for j in range(4)},
            **{f"now_frame_{j}": times(in_2, _frame[j] - (_is_end if j == 0 else 0.0)) for j in range(5)},
            "now_first": times(in_2, _is_end),
            "now_last": times(in_3, _is_end),
        },
        "which token is wanted, and what is to be looked up for it",
    )
    program.feed_forward(
        {
            "record_edge": times(direction("records") - _record[0] + _NODE_0, direction("is_record")),
            "record_other": times(_ago[1], _record[3]) + times(_ago[3], _record[0]),
            "goes_back": is_zero(direction("w") - _NONE),
            "is_father": is_zero(direction("w") - direction("f")),
            "at_root": is_zero(direction("f") - _NONE),
            **{square_of(name): square(direction(name)) for name in ("place", "node", "edge", "entered")},
        },
        "what a record says; is there no edge, or one to the father?",
    )


def _look_up(program: Program) -> None:
    """The attention layer."""
    is_record, is_entry = direction("is_record"), direction("is_entry")
    node = number(past(2))  # of a record and of a frame's third token: two tokens ago
    record_edge = direction("record_edge")
    program.attend(
        [
            Lookup({"fetched": direction(TOKEN)}, [(number("place"), number(POSITION))]),
            Lookup({"met_edge": record_edge, "met": is_record}, [(number(past(1)), node)], is_record, "latest"),
            Lookup(
                {"next_edge": record_edge, "next_node": direction("record_other"), "has_next": is_record},
                [(number("node"), node), (number("edge"), number(TOKEN))],
                is_record,
            ),
            Lookup({"father": _ago[1], "by_edge": _ago[4], "known": is_entry}, [(number("entered"), node)], is_entry),
        ],
        "a node of the prompt; a node's latest record; its next edge; the frame in which it was entered",
    )


def _choose(program: Program) -> None:
    """The choice of the next token."""
    back, none = direction("goes_back"), linear(float(_NONE))
    program.feed_forward(
        {
            "stays": relu(direction("is_father") - back),
            "is_over": relu(back + direction("at_root") - 1.0),
            "starts": is_zero(_ago[1] - _END),
            "all_read": is_zero(direction("records") - direction("edges")),
            "found_none": is_zero(_ago[1] - _NONE),
            "was_root": is_zero(_ago[4] - _NONE),
            "all_found": is_zero(direction("found_before") - direction("edges") - 1.0),
        },
        "flags of what comes next",
    )
    stays, over = direction("stays"), direction("is_over")
    enters = 1.0 - back - stays
    program.feed_forward(
        {
            "is_met": relu(direction("known") - back - stays),
            "enters": relu(enters - direction("starts")),
            "is_tree": relu(direction("found_none") + direction("was_root") + direction("all_found") - 2.0),
            "back_edge": times(direction("by_edge"), back) + times(_ago[3], stays) + times(_NONE, enters),
        },
        "has the search met its own tour?  Is the graph a tree?",
    )
    met = direction("is_met")
    program.feed_forward(
        {
            "to_node": times(direction("f"), back - over)
            + times(direction("v"), stays)
            + times(direction("w"), enters - met)
            + times(_END, over + met),
            "to_father": times(direction("father"), back)
            + times(direction("f"), stays)
            + times(direction("v"), direction("enters"))
            + times(_NONE, direction("starts")),
            "to_record": times(direction("fetched"), 1.0 - direction("all_read")) + times(_END, direction("all_read")),
            "to_met": linear(direction("met_edge") - direction("met") * _NONE) + none,
            "to_next": linear(direction("next_edge") - direction("has_next") * _NONE) + none,
            "to_neighbour": linear(direction("next_node") - direction("has_next") * _NONE) + none,
            "verdict": linear(direction("is_tree") * (TRUE - FALSE) + (FALSE - BOS)),
        },
        "what each kind of token would be",
    )
    names = ["to_record", "fetched", "to_met", "to_met", "to_node", "to_father", "back_edge", "to_next", "to_neighbour"]
    forms = [*(direction(name) for name in names), direction(ONE) * _NODE_0, direction("verdict")]
    flags = [f"now_record_{j}" for j in range(4)] + [f"now_frame_{j}" for j in range(5)] + ["now_first", "now_last"]
    program.feed_forward({ANSWER: chosen([direction(flag) for flag in flags], forms)}, "the one that is wanted now")


def _build(config: TaskConfig, precision: Precision) -> Construction:
    task = IsTreeFrames(config)
    program = Program(task.max_length, precision, positions=False)
    _remember(program)
    _ask(program)
    _look_up(program)
    _choose(program)
    return Construction(program, "5.7", len(task.vocabulary), 22 * max(config.n, task.options.names))


BUILDERS = {("istree", "hybrid_cot"): Builder("5.7", "cot", _build, IsTreeFrames)}
