"""What `pretrained hotpotqa` does with its runs, one for every method and choice of paragraphs, of the same model."""

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from retrieval_gap.experiments.hotpotqa_llm.answering import read_data
from retrieval_gap.experiments.hotpotqa_llm.experiment import HotpotQARun, check_same_model
from retrieval_gap.experiments.hotpotqa_llm.methods import dialogue
from retrieval_gap.llm.backends import make_backend
from retrieval_gap.llm.cache import REPLIES, Cache
from retrieval_gap.llm.client import Client
from retrieval_gap.llm.config import Price
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Row, RunOptions
from retrieval_gap.runs.perform import perform
from retrieval_gap.tasks.hotpotqa.data.subsets import Subsets


def evaluate(runs: Sequence[HotpotQARun], options: RunOptions, price: Price) -> list[Row]:
    """Return the rows of runs of one model and file; print what was spent, even after a failure.

    Raises TaskError for unusable data, RunError if the model fails.
    """
    first = runs[0]
    data = read_data(Path(first.data), first.questions)
    if data.unusable:
        print(f"{data.unusable} records of {first.data} are not usable and were left out", file=sys.stderr)
    backend = make_backend(first.model, first.local, first.server)
    with closing(Cache(options.runs_dir / REPLIES)) as cache:
        client = Client(backend, cache)
        try:
            return [row for each in runs for row in _rows(each, client, options)]
        finally:
            print(client.spent.summary(price), file=sys.stderr, flush=True)


def _rows(each: HotpotQARun, client: Client, options: RunOptions) -> list[Row]:
    check_same_model(RunDirectory.of(each, options.runs_dir), client.backend.described)
    return perform(each, options, lambda run, _: each.answered(run, client))


def show_plan(runs: Sequence[HotpotQARun]) -> None:
    """Print runs of one file with the number of words in their first requests, and the first prompt; asks no model."""
    data, first = read_data(Path(runs[0].data), runs[0].questions), ""
    for run in runs:
        subset, subsets = run.subset, Subsets(data.questions, run.subset)
        prompts = [next(dialogue(subsets.shown(each), run.method, run.ask)).prompt for each in subsets.questions]
        words = sorted(len(prompt.split()) for prompt in prompts) or [0]
        print(
            f"{run.method}, n = {subset.n_paragraphs}, {subset.order}, {subset.variant}: {len(prompts)} questions, "
            f"{len(subsets.left_out)} have too few paragraphs; prompts of {words[len(words) // 2]:,} words, "
            f"{words[-1]:,} at most, {sum(words):,} in all"
        )
        first = first or (prompts or [""])[0]
    print(f"\nThe first prompt:\n{first}")
