"""`retrieval-gap memory`: streams, and frozen language models that carry a text from step to step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from tyro.conf import Positional, arg, subcommand

from retrieval_gap.commands.flags import RunsDir, ShowPrompt, names, whole_numbers
from retrieval_gap.llm.config import LLMConfig, LocalConfig, Price, ServerConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.text_memory.settings import FLOORS, LARGEST, METHODS, AnswerForm, Feedback, Settings, Update

if TYPE_CHECKING:
    from retrieval_gap.experiments.memories.cell import MemoryCell
    from retrieval_gap.runs.known import KnownRun


BenchmarkName = Annotated[
    Positional[str],
    arg(metavar="BENCHMARK", help="benchmark: weather, finance, clinical, recall, drift, or a .py file"),
]
DataPath = Annotated[Path | None, arg(help="file or folder of the benchmark's data, if it needs any")]
Options = Annotated[str, arg(help='options of the benchmark, such as "facts=16 values=8 corrections=4"')]
Steps = Annotated[int, arg(help="most steps per stream; 0 means all in the data")]
Seed = Annotated[int, arg(help="seed for where streams start or what they contain")]
MemoryRuns = Path("runs/memory")


@dataclass(frozen=True, kw_only=True)
class StreamCommand:
    """Print the steps of a benchmark's streams: the input, the truth, and when it is known. No model is run."""

    benchmark: BenchmarkName
    data: DataPath = None
    count: Annotated[int, arg(help="streams to print, from number `first` on")] = 3
    first: Annotated[int, arg(help="number of the first stream to print")] = 0
    steps: Steps = 100
    seed: Seed = 0
    options: Options = ""
    format: Literal["text", "jsonl"] = "text"

    def run(self) -> None:
        from retrieval_gap.commands.stream_records import print_streams
        from retrieval_gap.tasks.streams.stream import StreamConfig, load_benchmark

        if self.count < 0 or self.first < 0:
            raise UsageError("--count and --first are 0 or more")
        config = StreamConfig(data=self.data, steps=self.steps, seed=self.seed, options=self.options)
        print_streams(load_benchmark(self.benchmark)(config), self.first, self.count, self.format)


@dataclass(frozen=True, kw_only=True)
class MemoryRunCommand:
    """Run memory methods on a benchmark, beside baselines without a model. Finished steps are not run again.
    Scripted models, whose right results are known, are there for tests: --model scripted:note_taker, and others."""

    benchmark: BenchmarkName
    model: Annotated[LLMConfig, arg(name="")]
    method: Annotated[
        str, arg(help="methods: zero_shot, last_k, full_history, memprompt, memprompt_summary, episodes, search, "
                      "llm_as_rnn, no_update, oracle_memory, separated by commas")
    ] = "zero_shot,full_history,episodes,llm_as_rnn,no_update,oracle_memory"  # fmt: skip
    data: DataPath = None
    target: Annotated[str, arg(help='what to predict, such as temperature; "" means the benchmark\'s first')] = ""
    budget: Annotated[str, arg(help="most tokens of state, or several: 64,128,256")] = "256"
    feedback: Annotated[
        str, arg(help="feedback after each prediction: truth, judge, shuffled or none, or several: truth,shuffled")
    ] = "truth"
    judge: Annotated[str, arg(help='model used as judge, with --feedback judge; "" means the same model')] = ""
    answer: Annotated[
        AnswerForm,
        arg(help="json: parse the reply; score, calibrated: the likeliest allowed answer; grammar: JSON by a schema"),
    ] = "json"
    update: Annotated[
        str, arg(help="how llm_as_rnn updates its text: as a whole (rewrite), by items (edits), or both: rewrite,edits")
    ] = "rewrite"
    gate: Annotated[int, arg(help="keep a new memory only if it predicts the last GATE steps no worse; 0: always")] = 0
    k: Annotated[int, arg(help="most past steps shown by last_k, memprompt, episodes and search")] = 5
    temperature: Annotated[float, arg(help="sampling temperature; 0 is greedy")] = 0.0
    draw: Annotated[int, arg(help="number of the repetition, at a temperature above 0")] = 0
    thinking: Annotated[int, arg(help="extra tokens per reply, for models that think first")] = 0
    streams: Annotated[int, arg(help="number of streams, counted from 0; 0 means all in the data")] = 5
    steps: Steps = 100
    seed: Annotated[str, arg(help="seed for where streams start or what they contain, or several: 0,1,2")] = "0"
    options: Options = ""
    floors: Annotated[bool, arg(help="also run the baselines that need no model")] = True
    local: Annotated[LocalConfig, arg(name="")] = field(default_factory=LocalConfig)
    server: Annotated[ServerConfig, arg(name="")] = field(default_factory=ServerConfig)
    price: Annotated[Price, arg(name="")] = field(default_factory=Price)
    dry_run: ShowPrompt = False
    runs_dir: RunsDir = MemoryRuns

    def run(self) -> None:
        from retrieval_gap.experiments.memories.planning import print_plan
        from retrieval_gap.experiments.memories.work import check_headings
        from retrieval_gap.runs.experiment import RunOptions
        from retrieval_gap.runs.known import planned_runs
        from retrieval_gap.runs.perform import perform

        cells = self._cells()
        if self.dry_run:
            print_plan(cells)
            return
        for cell in cells:
            cell.validate()
        for cell in cells:
            perform(cell, RunOptions(runs_dir=self.runs_dir, threads=1, device=self.local.device))
        known = planned_runs(cells, self.runs_dir)
        for cell, each in zip(cells, known, strict=True):  # no_update's budget is not hashed: it may be larger
            check_headings(cell.settings.budget, each.rows()[0].get("headings") or 0)
        show(known, "zero_shot", self.price)

    def _cells(self) -> "list[MemoryCell]":
        from retrieval_gap.experiments.memories.cell import MemoryCell
        from retrieval_gap.experiments.memories.planning import Varied, planned_cells

        varied = Varied(
            methods=names("--method", self.method, (*METHODS, *FLOORS)),
            budgets=whole_numbers("--budget", self.budget, 1, LARGEST),
            feedbacks=names("--feedback", self.feedback, get_args(Feedback)),
            updates=names("--update", self.update, get_args(Update)),
            seeds=whole_numbers("--seed", self.seed, 0, 2**63 - 1),
        )
        settings = Settings(
            answer=self.answer,
            gate=self.gate,
            k=self.k,
            temperature=self.temperature,
            draw=self.draw,
            thinking=self.thinking,
        )
        cell = MemoryCell(
            benchmark=self.benchmark,
            method="zero_shot",
            data=str(self.data) if self.data else "",
            target=self.target,
            streams=self.streams,
            steps=self.steps,
            options=self.options,
            settings=settings,
            model=self.model,
            judge=self.judge,
            local=self.local,
            server=self.server,
        )
        return planned_cells(cell, varied, floors=self.floors)


@dataclass(frozen=True, kw_only=True)
class MemoryShowCommand:
    """Show the memory at each step of a run: its text, what changed and why, the feedback, and the budget."""

    run_dir: Annotated[Positional[Path], arg(metavar="RUN", help="a run directory")]
    stream: Annotated[int, arg(help="number of the stream to show")] = 0

    def run(self) -> None:
        from rich.console import Console

        from retrieval_gap.experiments.memories.showing import show_run
        from retrieval_gap.runs.directory import RunDirectory

        show_run(RunDirectory(self.run_dir), self.stream, Console())


@dataclass(frozen=True, kw_only=True)
class MemoryTableCommand:
    """Compare methods and baselines: scores, and paired differences over the same steps with intervals."""

    against: Annotated[str, arg(help="method or baseline that the others are compared with")] = "zero_shot"
    price: Annotated[Price, arg(name="")] = field(default_factory=Price)
    csv: Annotated[Path | None, arg(help="also write the rows to this file, such as results/memory_demo.csv")] = None
    runs_dir: RunsDir = MemoryRuns

    def run(self) -> None:
        from retrieval_gap.experiments.memories.comparison import TABLE_COLUMNS
        from retrieval_gap.runs.known import known_runs
        from retrieval_gap.tables.rows import make_room_for_table

        if self.csv is not None:
            make_room_for_table(self.csv, TABLE_COLUMNS)
        show(known_runs(self.runs_dir), self.against, self.price, self.csv)


def show(known: "Sequence[KnownRun]", against: str, price: Price, csv: Path | None = None) -> None:
    """Print the comparisons of runs and write them to `csv`; then raise RunError for runs that cannot be read.

    Raises UsageError if no memory run is done, and for an unknown method.
    """
    from retrieval_gap.experiments.memories.comparison import TABLE_COLUMNS, compared_rows, print_compared
    from retrieval_gap.experiments.memories.finished import find_finished
    from retrieval_gap.experiments.memories.seeds import pooled_over_seeds
    from retrieval_gap.runs.known import raise_unread
    from retrieval_gap.tables.rows import save_table

    found, troubles = find_finished(known)
    if not found and not troubles:
        raise UsageError("no run of memories is done here; `retrieval-gap memory run` makes one")
    rows = compared_rows([*found, *pooled_over_seeds(found)], against, price)
    if rows:
        print_compared(rows)
        if csv is not None:
            save_table(csv, TABLE_COLUMNS, rows)
    raise_unread(troubles)


@dataclass(frozen=True, kw_only=True)
class MemoryCommand:
    """LLM-as-RNN: a frozen language model whose state is a text that it rewrites, on streams of predictions."""

    action: Annotated[
        Annotated[StreamCommand, subcommand("stream", prefix_name=False)]
        | Annotated[MemoryRunCommand, subcommand("run", prefix_name=False)]
        | Annotated[MemoryShowCommand, subcommand("show", prefix_name=False)]
        | Annotated[MemoryTableCommand, subcommand("table", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> None:
        self.action.run()
