"""Count tokens, each text once, and keep lines within a budget."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
KEPT = 200_000  # texts whose count is remembered


class Counter:
    """count_tokens: the model's own tokenizer; that may be a request to a server, so no text is counted twice."""

    def __init__(self, count_tokens: Callable[[str], int]) -> None:
        self._count, self._known = count_tokens, dict[str, int]()

    def __call__(self, text: str) -> int:
        """Number of tokens of a text; 0 for an empty one."""
        if not text:
            return 0
        if text not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[text] = self._count(text)
        return self._known[text]

    def fitting(self, lines: Sequence[str], budget: int) -> list[str]:
        """The first lines, as many as fit the budget together; no line is cut."""
        return self.fitting_as(lines, budget, "\n".join)

    def fitting_as(self, items: Sequence[T], budget: int, shown: Callable[[Sequence[T]], str]) -> list[T]:
        """The first items, as many as fit the budget in the text that `shown` makes of them.

        Tokens can span line ends, so the same lines in another order may have more tokens.
        """
        low, high = 0, len(items)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self(shown(items[:middle])) <= budget else (low, middle - 1)
        return list(items[:low])
