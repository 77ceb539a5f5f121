"""A finite control for programs that write by rules: a clock, registers that are set at chosen times, a table of rules.

The clock is one number.  A mark sets it to 2^-time, where time depends on the mark, and every later token halves it, so
that it counts the tokens since the last mark.  It is 0 before any mark, and again long after one.  Floats hold powers
of two exactly, in any precision.
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
    """The value of the token direction at this token (`[BOS]` is 0)."""
    return float(token - BOS)


def is_token(token: int) -> Units:
    """1 at this token, 0 at others."""
    return is_zero(direction(TOKEN) - number_of(token))


def clock(marks: Mapping[str, int]) -> Register:
    """The clock.  marks: for each direction that flags a mark, the time that the mark sets."""
    halved = direction(CLOCK) * 0.5
    setting = Affine()
    for flag, time in marks.items():
        setting = setting + direction(flag) * 2.0**-time
    return Register(halved, tuple((direction(flag), -halved) for flag in marks), setting)


def clock_is(time: int) -> Units:
    """1 at this time (the clock at 2^-time), else 0.

    The argument is the clock's distance from 2^-time in units of half of that.  At later times it is between -2 and -1,
    where every ReLU of the tent is 0; at earlier times it is 2 or more, and exact if the significand has 2 bits more
    than there are times in between.
    """
    return is_zero((direction(CLOCK) - 2.0**-time) * 2.0 ** (time + 1))


def held(name: str, when: Affine, value: Affine) -> Register:
    """A register that becomes `value` where the flag `when` is 1, else stays.  `value` must be 0 where `when` is 0."""
    return Register(direction(name), ((when, -direction(name)),), value)


def rules(table: Sequence[Rule]) -> Units:
    """The sum of the values whose flags (forms that are 0 or 1) are all 1.

    Each rule is one hidden unit: its value times relu(sum of its flags - (number of flags - 1)).
    """
    flagged = ((value, sum(map(affine, flags), Affine()) - (len(flags) - 1)) for value, flags in table)
    return sum((times(value, together) for value, together in flagged), Units(()))
