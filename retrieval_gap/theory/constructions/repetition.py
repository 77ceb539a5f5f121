r"""RE2's limit on repetition, and a pattern that goes beyond it.

RE2 repeats a group at most 1000 times, and multiplies the counts of nested groups: it rejects `(?:\S+\s){1001}`, and
also `(?:(?:\S+\s){100}){11}`.  It accepts one repeated group after another: `(?:\S+\s){1000}(?:\S+\s){1}`.  Then the
memory of a search is the limit; `\S`, which covers all of Unicode, takes more of it than the ASCII words of our traces
need.
"""

from retrieval_gap.tasks.index import MOST_REPEATS

WORD = r"[!-~]+\s"  # a word of printable ASCII, and the space after it


def skip_words(count: int) -> str:
    """The pattern that skips `count` words from the beginning of the text, and captures the next one.

    It skips in chunks of MOST_REPEATS.  Raises ValueError for a count below zero.
    """
    if count < 0:
        raise ValueError(f"{count} words cannot be skipped")
    chunks, rest = divmod(count, MOST_REPEATS)
    return "^" + f"(?:{WORD}){{{MOST_REPEATS}}}" * chunks + f"(?:{WORD}){{{rest}}}([!-~]+)"
