"""The grid of constructions: what each theorem says is possible, at growing sizes."""

from collections.abc import Iterator

from retrieval_gap.experiments.constructions.config import OnMachine, OnTask, Setup
from retrieval_gap.tasks.istree.families import FAMILIES
from retrieval_gap.theory.constructions.machines import load_machine, simulate

# Sizes by task: RE2 repeats a group at most 1000 times (index), and a pattern for a threshold grows (counting).
# Options are those of the trained models in results/theory_cpu.csv.
RECALL = {
    "index": ("values=4", (16, 64, 256, 1000)),
    "associative_recall": ("values=4", (16, 64, 256, 1024)),
    "cgram_retrieval": ("c=3", (16, 64, 256, 1024)),
    "counting": ("most=2", (16, 64, 256, 1024)),
    "mqar": ("vocab=512", (16, 64, 256, 1024)),
}
RECALL_WAYS = ("transformer", "rnn_rag", "hybrid")
COPY_WAYS, COPY_SIZES = ("transformer", "hybrid"), (16, 64, 256, 1000)
ISTREE_WAYS = ("transformer_cot", "rnn_rag", "hybrid_cot")
ISTREE_SIZES, ISTREE_MORE_SIZES = (16, 64, 128), (32, 256, 1024)  # for every family, for the first only
ISTREE_NODES = 1_600  # in all graphs of a row: 100 of 16 nodes, one of 1,024
SAMPLES, FEW = 100, 20
MOST_STEPS = 1_024
WORDS = {
    "binary_increment": ("1011", "11111111", "1" * 32),
    "palindrome": ("abba", "abababa", "ab" * 8 + "ba" * 8, "ab" * 21 + "a"),
    "balanced_brackets": ("(())()", "()" * 8, "(" * 12 + ")" * 12),
    "copy": ("ab", "abba", "abab" * 3),
    "busy_beaver_4": ("",),
}


def constructions() -> list[Setup]:
    """Minutes on two cores: the recall tasks and IsTree up to n = 1,024, a simulated LSTM, Turing machines."""
    return [*_recall(), *_istree(), *_simulated(), *_machines()]


def _recall() -> Iterator[Setup]:
    for task, (options, sizes) in RECALL.items():
        for how in RECALL_WAYS:
            for n in sizes:
                yield OnTask(task=task, how=how, n=n, options=options, samples=SAMPLES, smallest=True)
    for how in COPY_WAYS:
        for n in COPY_SIZES:
            yield OnTask(task="copy", how=how, n=n, samples=FEW, smallest=True)
    for how in RECALL_WAYS:
        for c in (2, 4):
            yield OnTask(task="cgram_retrieval", how=how, n=256, options=f"c={c}", samples=SAMPLES)


def _istree() -> Iterator[Setup]:
    for family in ("", *FAMILIES[1:]):  # "" is the first
        for how in ISTREE_WAYS:
            for n in sorted((*ISTREE_SIZES, *(() if family else ISTREE_MORE_SIZES))):
                samples = ISTREE_NODES // n
                yield OnTask(task="istree", how=how, n=n, family=family, samples=samples, smallest=not family)


def _simulated() -> Iterator[Setup]:
    for n in (16, 32, 64, 128):
        yield OnTask(task="quantised_lstm", how="transformer_cot", n=n, samples=FEW, smallest=True)


def _machines() -> Iterator[Setup]:
    """max_steps is the next power of two from the steps needed, at least 16: the precision p grows with the time."""
    for name, words in WORDS.items():
        machine = load_machine(name)
        for how in ("rnn_rag", "hybrid"):
            for word in words:
                steps = simulate(machine, machine.word(word), MOST_STEPS).steps
                bound = 1 << max(4, (steps - 1).bit_length())
                yield OnMachine(machine=name, how=how, word=word, max_steps=bound, smallest=True)


PRESETS = {"constructions": constructions}
