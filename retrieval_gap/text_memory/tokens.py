"""Counting tokens, each text once, and keeping lines within a budget."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
KEPT = 200_000  # texts whose count is remembered


class Counter:
    """count_tokens: the model's own tokenizer; a server may have to be asked, so no text is counted twice."""

    def __init__(self, count_tokens: Callable[[str], int]) -> None:
        self._count, self._known = count_tokens, dict[str, int]()

    def __call__(self, text: str) -> int:
        """Tokens of a text; 0 of an empty one."""
        if not text:
            return 0
        if text not in self._known:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[text] = self._count(text)
        return self._known[text]

    def fitting(self, lines: Sequence[str], budget: int) -> list[str]:
        """The most lines, from the first on, whose text is within the budget: whole lines, never a part of one."""
        return self.fitting_as(lines, budget, "\n".join)

    def fitting_as(self, items: Sequence[T], budget: int, shown: Callable[[Sequence[T]], str]) -> list[T]:
        """The most items, from the first on, whose text as it is shown is within the budget.

        Tokens reach over the ends of lines, so the same lines may be more of them in another order.
        """
        low, high = 0, len(items)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self(shown(items[:middle])) <= budget else (low, middle - 1)
        return list(items[:low])
