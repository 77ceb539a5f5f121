"""The grid of constructions: what each theorem says is possible, at growing sizes."""

from collections.abc import Iterator

from retrieval_gap.experiments.constructions.config import OnMachine, OnTask, Setup
from retrieval_gap.tasks.istree.families import FAMILIES

# Sizes by task: RE2 repeats a group at most 1000 times (index), and a pattern for a threshold grows (counting).
# Options are those of the trained models in results/theory_cpu.csv.
RECALL = {
    "index": ("values=4", (16, 64, 256, 1000)),
    "associative_recall": ("values=4", (16, 64, 256, 1024)),
    "cgram_retrieval": ("c=3", (16, 64, 256, 1024)),
    "counting": ("most=2", (16, 64, 256, 1024)),
}
RECALL_WAYS = ("transformer", "rnn_rag", "hybrid")
ISTREE_WAYS = ("transformer_cot", "rnn_rag", "hybrid_cot")
ISTREE_SIZES, ISTREE_LARGE = (16, 32, 64, 128), 256
ISTREE_MEASURED = 64  # the largest n at which the fewest bits are measured: that costs as much as ten of accuracy
SAMPLES, FEW = 100, 20
WORDS = {
    "binary_increment": ("1011", "11111111", "1" * 32),
    "palindrome": ("abba", "abababa", "ab" * 8 + "ba" * 8),
    "balanced_brackets": ("(())()", "()" * 8, "(" * 12 + ")" * 12),
    "copy": ("ab", "abba", "abab" * 3),
    "busy_beaver_4": ("",),
}


def constructions() -> list[Setup]:
    """Minutes on two cores: the recall tasks up to n = 1,024, IsTree up to 256 nodes, the machines."""
    return [*_recall(), *_istree(), *_simulated(), *_machines()]


def _recall() -> Iterator[Setup]:
    for task, (options, sizes) in RECALL.items():
        for how in RECALL_WAYS:
            for n in sizes:
                yield OnTask(task=task, how=how, n=n, options=options, samples=SAMPLES, smallest=True)
    for how in RECALL_WAYS:
        for c in (2, 4):
            yield OnTask(task="cgram_retrieval", how=how, n=256, options=f"c={c}", samples=SAMPLES)


def _istree() -> Iterator[Setup]:
    for family in ("", *FAMILIES[1:]):  # "" is the first
        for how in ISTREE_WAYS:
            for n in (*ISTREE_SIZES, *([] if family else [ISTREE_LARGE])):
                smallest = n <= ISTREE_MEASURED and not family
                samples = SAMPLES if n < 100 else FEW
                yield OnTask(task="istree", how=how, n=n, family=family, samples=samples, smallest=smallest)


def _simulated() -> Iterator[Setup]:
    for n in (16, 32, 64):
        yield OnTask(task="quantised_lstm", how="transformer_cot", n=n, samples=FEW)


def _machines() -> Iterator[Setup]:
    for machine, words in WORDS.items():
        for how in ("rnn_rag", "hybrid"):
            for word in words:
                yield OnMachine(machine=machine, how=how, word=word)
