"""A finite control for programs that write by rules: a clock, registers that are set at chosen times, a table of rules.

The clock is one number.  It doubles at every token, and at a token that is a mark it is set anew; so it is the mark's
number times a power of two while the rest of the text is told by how many tokens ago the mark was.  Before any mark it
stays at 0.  Floats hold powers of two exactly, in any precision.
"""

from collections.abc import Mapping, Sequence

from retrieval_gap.tasks.api import BOS
from retrieval_gap.theory.constructions.feed_forward import Units, is_zero, times
from retrieval_gap.theory.constructions.program import TOKEN
from retrieval_gap.theory.constructions.recurrence import Register
from retrieval_gap.theory.constructions.stream import Affine, affine, direction

CLOCK = "clock"
Value = Affine | float
Rule = tuple[Value, tuple[Value, ...]]


def number_of(token: int) -> float:
    """What the direction of the token holds at this one (`[BOS]` is 0)."""
    return float(token - BOS)


def is_token(token: int) -> Units:
    """1 at this token, else 0."""
    return is_zero(direction(TOKEN) - number_of(token))


def clock(marks: Mapping[str, float]) -> Register:
    """The clock; `marks` has, for each direction that is 1 at a mark, the power of two that the clock is set to."""
    doubled = direction(CLOCK) * 2.0
    setting = Affine()
    for flag, value in marks.items():
        setting = setting + direction(flag) * value
    return Register(doubled, tuple((direction(flag), -doubled) for flag in marks), setting)


def clock_is(time: float) -> Units:
    """1 where the clock shows this power of two, else 0.

    How far there is to go is measured in halves of `time`: at most -2 at a later time, where every ReLU of the tent is
    0 however large the clock has become; from 1 to 2 at an earlier one, where a significand of 2 bits more than there
    are doublings in between is exact.
    """
    return is_zero((time - direction(CLOCK)) * (2.0 / time))


def held(name: str, when: Affine, value: Affine) -> Register:
    """A register that becomes `value` where the flag `when` is 1, and else stays.  `value` is 0 where the flag is."""
    return Register(direction(name), ((when, -direction(name)),), value)


def total(*forms: Value) -> Affine:
    """The sum of these forms."""
    whole = Affine()
    for form in forms:
        whole = whole + form
    return whole


def rules(table: Sequence[Rule]) -> Units:
    """The sum of the values whose flags (forms that are 0 or 1) are all 1.

    A hidden unit a rule: its value times relu(sum of its flags - (how many there are - 1)).
    """
    whole = Units(())
    for value, flags in table:
        whole = whole + times(affine(value), total(*flags) - (len(flags) - 1))
    return whole
