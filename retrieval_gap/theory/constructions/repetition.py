r"""RE2's limit on repetition, and a pattern that goes past it.

RE2 repeats a group at most 1000 times, and counts groups inside groups together: `(?:\S+\s){1001}` is refused, and so
is `(?:(?:\S+\s){100}){11}`.  It takes one repeated group behind another: `(?:\S+\s){1000}(?:\S+\s){1}`.  Then the
memory that a search is given is the limit; `\S`, which knows all of Unicode, takes more of it than the ASCII words
of our traces need.
"""

from retrieval_gap.tasks.index import MOST_REPEATS

WORD = r"[!-~]+\s"  # a word of printable ASCII, and the space behind it


def skip_words(count: int) -> str:
    """The pattern that passes so many words from the text's beginning on, and captures the next one.

    In chunks of MOST_REPEATS.  Raises ValueError for a count below zero.
    """
    if count < 0:
        raise ValueError(f"{count} words cannot be skipped")
    chunks, rest = divmod(count, MOST_REPEATS)
    return "^" + f"(?:{WORD}){{{MOST_REPEATS}}}" * chunks + f"(?:{WORD}){{{rest}}}([!-~]+)"
