"""A finite control for programs that write by rules: a clock, registers that are set at chosen times, a table of rules.

The clock is one number.  A mark sets it to a power of two, and it is halved at every token: it tells how many tokens
ago the last mark was, counted from what that mark is worth.  Before any mark it stays at 0, and long after one it gets
there again.  Floats hold powers of two exactly, in any precision.
"""

from collections.abc import Mapping, Sequence

from retrieval_gap.tasks.api import BOS
from retrieval_gap.theory.constructions.feed_forward import Units, is_zero, times
from retrieval_gap.theory.constructions.program import TOKEN
from retrieval_gap.theory.constructions.recurrence import Register
from retrieval_gap.theory.constructions.residual_stream import Affine, affine, direction

CLOCK = "clock"
Value = Affine | float
Rule = tuple[Value, tuple[Value, ...]]


def number_of(token: int) -> float:
    """What the direction of the token holds at this one (`[BOS]` is 0)."""
    return float(token - BOS)


def is_token(token: int) -> Units:
    """1 at this token, else 0."""
    return is_zero(direction(TOKEN) - number_of(token))


def clock(marks: Mapping[str, int]) -> Register:
    """The clock; `marks` has, for each direction that is 1 at a mark, the time that it is then."""
    halved = direction(CLOCK) * 0.5
    setting = Affine()
    for flag, time in marks.items():
        setting = setting + direction(flag) * 2.0**-time
    return Register(halved, tuple((direction(flag), -halved) for flag in marks), setting)


def clock_is(time: int) -> Units:
    """1 at this time (the clock at 2^-time), else 0.

    The clock's distance is measured in halves of what it shows at `time`.  Later it is between -2 and -1, where every
    ReLU of the tent is 0; earlier it is 2 or more, and exact with a significand of 2 bits more than there are times in
    between.
    """
    return is_zero((direction(CLOCK) - 2.0**-time) * 2.0 ** (time + 1))


def held(name: str, when: Affine, value: Affine) -> Register:
    """A register that becomes `value` where the flag `when` is 1, and else stays.  `value` is 0 where the flag is."""
    return Register(direction(name), ((when, -direction(name)),), value)


def rules(table: Sequence[Rule]) -> Units:
    """The sum of the values whose flags (forms that are 0 or 1) are all 1.

    A hidden unit a rule: its value times relu(sum of its flags - (how many there are - 1)).
    """
    flagged = ((value, sum(map(affine, flags), Affine()) - (len(flags) - 1)) for value, flags in table)
    return sum((times(value, together) for value, together in flagged), Units(()))
