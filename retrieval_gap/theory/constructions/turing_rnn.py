"""A Turing machine run by a linear RNN that searches (theorem 5.4).

turing_text.py describes the text that it writes and in which it looks up the tape.  The state is four numbers, for any
input and time: the clock (control.py), the machine's state, the symbol under the head, and the head's position.  The
machine's table is in a feed-forward layer, with a hidden unit for each transition and each of its properties.

| layer | what it writes |
|---|---|
| feed-forward | is this `[STARTSEARCH]`, `[ENDSEARCH]`, `[EOS]`? |
| recurrence | the clock |
| feed-forward, twice | which time is it?  The token, if it is a symbol that was found, or a state |
| recurrence | the symbol and the state |
| feed-forward | which symbol, which state? |
| feed-forward | the machine's table: what to write, where to go, the next state |
| recurrence | the head, which moves with the write |
| feed-forward | the next token, by the time |

Source: "RNNs are not Transformers (Yet)", Wen, Dang, Lyu (ICLR 2025), theorem 5.4.
"""

from collections.abc import Callable

from retrieval_gap.tasks.api import ENDSEARCH, EOS, FAILED, FALSE, STARTSEARCH, TRUE
from retrieval_gap.theory.constructions.construction import Construction
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
from retrieval_gap.theory.constructions.feed_forward import is_zero, times
from retrieval_gap.theory.constructions.machines import Transition, TuringMachine
from retrieval_gap.theory.constructions.precision import Precision
from retrieval_gap.theory.constructions.program import ANSWER, TOKEN, Program
from retrieval_gap.theory.constructions.recurrence import Register
from retrieval_gap.theory.constructions.residual_stream import Affine, affine, direction
from retrieval_gap.theory.constructions.turing_text import GIVES_TOKEN, LAST_TOKEN, WRITE_TOKEN, MachineTask

# Times of the clock: after a search the symbol that was found, the cell, `<-`, the symbol written, the new state;
# `[EOS]` has the time of that symbol, so that a state comes next.  Then the times of a query's tokens.
STOPPED, FOUND, NAMED, SIGNED, WRITTEN, ENTERED = range(6)
ENDED = WRITTEN
STARTED, BEGUN, PLACED, ASKED = range(6, 10)

state, symbol, head = direction("state"), direction("symbol"), direction("head")


def _at(time: int) -> str:
    return f"at_{time}"


def _in(name: str) -> Affine:
    return direction(f"state_{name}")


def _on(name: str) -> Affine:
    return direction(f"symbol_{name}")


def _reading(program: Program) -> None:
    """Add the clock, and the two registers that are read from the text."""
    brackets = {"is_start": STARTSEARCH, "is_stop": ENDSEARCH, "is_end": EOS}
    program.feed_forward({name: is_token(token) for name, token in brackets.items()}, "which bracket is this?")
    marks = {"is_start": STARTED, "is_stop": STOPPED, "is_end": ENDED}
    program.recur({CLOCK: clock(marks)}, "where in a step the text is")
    program.feed_forward({_at(time): clock_is(time) for time in range(FOUND, ASKED + 1)}, "which time is it?")
    events = {"symbol": direction(_at(FOUND)), "state": direction(_at(ENTERED))}
    reads = {f"read_{name}": times(direction(TOKEN), when) for name, when in events.items()}
    program.feed_forward(reads, "the token, where it is a symbol that was found, or a state")
    registers = {name: held(name, when, direction(f"read_{name}")) for name, when in events.items()}
    program.recur(registers, "the symbol under the head, the machine's state")


def _table(program: Program, machine: TuringMachine, task: MachineTask) -> None:
    """Add the machine's action in this state on this symbol."""
    which = {f"state_{name}": is_zero(state - number_of(task.state_token(name))) for name in machine.states}
    for name in machine.symbols:
        which[f"symbol_{name}"] = is_zero(symbol - number_of(task.symbol_token(name)))
    blank = f"symbol_{machine.blank}"
    which[blank] = which[blank] + is_zero(symbol - number_of(FAILED))
    which["not_begun"] = is_zero(state)
    program.feed_forward(which, "which state, which symbol; a cell that was never written is blank")

    def column(what: Callable[[Transition], float]) -> list[Rule]:
        return [(what(transition), (_in(q), _on(s))) for (q, s), transition in machine.transitions.items()]

    columns = {
        "goes_on": rules(column(lambda transition: 1.0)),
        "writes": rules(column(lambda transition: number_of(task.symbol_token(transition.write)))),
        "becomes": rules(column(lambda transition: number_of(task.state_token(transition.state)))),
        "moves": rules([(by, (direction(_at(WRITTEN)), *flags)) for by, flags in column(lambda t: float(t.move))]),
    }
    program.feed_forward(columns, "the machine's table; a move only when the write is made")
    program.recur({"head": Register(head, add=direction("moves"))}, "the head, in cells from where it began")


def _rules(machine: TuringMachine, task: MachineTask) -> list[Rule]:
    cell = head + number_of(task.cell_0)
    goes_on, is_end, not_begun = direction("goes_on"), direction("is_end"), direction("not_begun")
    halts, accepts = (sum(map(_in, names), Affine()) for names in (machine.halting, machine.accepting))
    at = {time: direction(_at(time)) for time in range(FOUND, ASKED + 1)}
    return [
        (number_of(LAST_TOKEN), (at[STARTED],)),
        (cell, (at[BEGUN],)),
        (number_of(GIVES_TOKEN), (at[PLACED],)),
        (number_of(ENDSEARCH), (at[ASKED],)),
        (cell, (at[FOUND], goes_on)),
        (number_of(EOS), (at[FOUND], 1.0 - goes_on)),
        (number_of(WRITE_TOKEN), (at[NAMED],)),
        (direction("writes"), (at[SIGNED],)),
        (direction("becomes"), (at[WRITTEN], 1.0 - is_end)),
        (number_of(EOS), (at[ENTERED], halts)),
        (number_of(STARTSEARCH), (at[ENTERED], 1.0 - halts)),
        (number_of(task.state_token(machine.start)), (is_end, not_begun)),
        (number_of(TRUE), (is_end, accepts)),
        (number_of(FALSE), (is_end, affine(1.0) - not_begun - accepts)),
    ]


def build_turing(task: MachineTask, precision: Precision) -> Construction:
    """The task's machine as weights.  Its stated precision depends on the number of steps that it may take."""
    program = Program(task.max_length, precision, positions=False)
    _reading(program)
    _table(program, task.machine, task)
    program.feed_forward({ANSWER: rules(_rules(task.machine, task))}, "the next token, by the time")
    cells = 2 * max(task.max_steps, len(task.word)) + 1
    largest = max(task.state_0 + len(task.machine.states) + cells, 2**5)
    return Construction(program, "5.4", len(task.vocabulary), largest)
