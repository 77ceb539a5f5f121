"""The plan of `pretrained hotpotqa`: a run for every method and choice of paragraphs, all by one client."""

import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from retrieval_gap.experiments.hotpotqa_llm.answering import read_data
from retrieval_gap.experiments.hotpotqa_llm.experiment import HotpotQARun, check_same_model
from retrieval_gap.experiments.hotpotqa_llm.methods import Method, dialogue
from retrieval_gap.llm.cache import REPLIES, Cache
from retrieval_gap.llm.client import Client
from retrieval_gap.llm.config import AskConfig, LLMConfig, LocalConfig, Price, ServerConfig
from retrieval_gap.llm.request import LLMBackend
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Row, RunOptions
from retrieval_gap.runs.perform import perform
from retrieval_gap.tasks.hotpotqa.data.subsets import SubsetConfig, Subsets


@dataclass(frozen=True, kw_only=True)
class HotpotQAPlan:
    """A model and the settings of its runs."""

    model: LLMConfig
    local: LocalConfig
    server: ServerConfig
    methods: Sequence[Method]
    subsets: Sequence[SubsetConfig]
    ask: AskConfig
    data: Path
    questions: int

    def runs(self) -> list[HotpotQARun]:
        return [
            HotpotQARun(
                model=self.model,
                local=self.local,
                server=self.server,
                method=method,
                subset=subset,
                ask=self.ask,
                data=str(self.data),
                questions=self.questions,
            )
            for method in self.methods
            for subset in self.subsets
        ]


def evaluate(
    plan: HotpotQAPlan, make_backend: Callable[[], LLMBackend], options: RunOptions, price: Price
) -> list[Row]:
    """Return the rows of the plan's runs; print what was spent, even after a failure.

    Raises TaskError for unusable data, RunError if the model fails.
    """
    data = read_data(plan.data, plan.questions)
    if data.unusable:
        print(f"{data.unusable} records of {plan.data} are not usable and were left out", file=sys.stderr)
    backend = make_backend()
    with closing(Cache(options.runs_dir / REPLIES)) as cache:
        client = Client(backend, cache)
        try:
            return [row for each in plan.runs() for row in _rows(each, client, options)]
        finally:
            print(client.spent.summary(price), file=sys.stderr, flush=True)


def _rows(each: HotpotQARun, client: Client, options: RunOptions) -> list[Row]:
    check_same_model(RunDirectory.of(each, options.runs_dir), client.backend.described)
    return perform(each, options, lambda run, _: each.answered(run, client))


def show_plan(plan: HotpotQAPlan) -> None:
    """Print the runs with the number of words in their first requests, and the first prompt; asks no model."""
    data, first = read_data(plan.data, plan.questions), ""
    for method in plan.methods:
        for subset in plan.subsets:
            subsets = Subsets(data.questions, subset)
            prompts = [next(dialogue(subsets.shown(each), method, plan.ask)).prompt for each in subsets.questions]
            words = sorted(len(prompt.split()) for prompt in prompts) or [0]
            print(
                f"{method}, n = {subset.n_paragraphs}, {subset.order}, {subset.variant}: {len(prompts)} questions, "
                f"{len(subsets.left_out)} have too few paragraphs; prompts of {words[len(words) // 2]:,} words, "
                f"{words[-1]:,} at most, {sum(words):,} in all"
            )
            first = first or (prompts or [""])[0]
    print(f"\nThe first prompt:\n{first}")
