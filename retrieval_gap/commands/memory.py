"""`retrieval-gap memory`: streams, and frozen language models that carry a text from step to step."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from tyro.conf import Positional, arg, subcommand

from retrieval_gap.commands.flags import RunsDir, names, whole_numbers
from retrieval_gap.llm.config import LLMConfig, LocalConfig, Price, ServerConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.text_memory.settings import LARGEST, AnswerForm, Feedback, Settings, Update

if TYPE_CHECKING:
    from retrieval_gap.experiments.memories.planning import MemoryPlan
    from retrieval_gap.runs.known import KnownRun


BenchmarkName = Annotated[
    Positional[str], arg(metavar="BENCHMARK", help="weather, finance, clinical, recall, drift, or a .py file")
]
DataPath = Annotated[Path | None, arg(help="the benchmark's file or folder, where it has one")]
Options = Annotated[str, arg(help='the benchmark\'s own, such as "facts=16 values=8 corrections=4"')]
Steps = Annotated[int, arg(help="of a stream at the most; 0 means all that the data give")]
Seed = Annotated[int, arg(help="of where streams start, or of what is drawn")]
MemoryRuns = Path("runs/memory")


@dataclass(frozen=True, kw_only=True)
class StreamCommand:
    """Print the steps of streams, without a model: input, truth, and when the truth is known."""

    benchmark: BenchmarkName
    data: DataPath = None
    count: Annotated[int, arg(help="streams to print, from number `first` on")] = 3
    first: int = 0
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
    """Let a model predict streams by one method or several, beside floors that need none.  What was answered before is
    not asked again.  Models whose right numbers are known: --model scripted:note_taker, and others."""

    benchmark: BenchmarkName
    model: Annotated[LLMConfig, arg(name="")]
    method: Annotated[
        str, arg(help="zero_shot, last_k, full_history, memprompt, memprompt_summary, episodes, search, llm_as_rnn, "
                      "no_update, oracle_memory; or several: zero_shot,llm_as_rnn")
    ] = "zero_shot,full_history,episodes,llm_as_rnn,no_update,oracle_memory"  # fmt: skip
    data: DataPath = None
    target: Annotated[str, arg(help='what is predicted, such as temperature; "" means the benchmark\'s first')] = ""
    budget: Annotated[str, arg(help="tokens that a method may carry, or several: 64,128,256")] = "256"
    feedback: Annotated[
        str, arg(help="what is told after a prediction: truth, judge, shuffled or none; or several: truth,shuffled")
    ] = "truth"
    judge: Annotated[str, arg(help='model that judges, with --feedback judge; "" means the same')] = ""
    answer: Annotated[
        AnswerForm,
        arg(
            help="json: written and parsed; score, calibrated: the likeliest allowed answer; grammar: JSON by a schema"
        ),
    ] = "json"
    update: Annotated[
        str, arg(help="of llm_as_rnn: the whole text (rewrite), or items of it (edits); or both: rewrite,edits")
    ] = "rewrite"
    gate: Annotated[
        int, arg(help="keep a new memory only if it predicts the last so many steps as well; 0: always")
    ] = 0
    k: Annotated[int, arg(help="steps that last_k, memprompt, episodes and search show at the most")] = 5
    temperature: Annotated[float, arg(help="0 is greedy")] = 0.0
    draw: Annotated[int, arg(help="tells repetitions at a temperature apart")] = 0
    thinking: Annotated[int, arg(help="tokens that a reply may have besides, for models that think first")] = 0
    streams: Annotated[int, arg(help="how many, from stream 0 on; 0 means all that the data give")] = 5
    steps: Steps = 100
    seed: Annotated[str, arg(help="of where streams start, or of what is drawn; or several: 0,1,2")] = "0"
    options: Options = ""
    floors: Annotated[bool, arg(help="run the floors that need no model too")] = True
    local: Annotated[LocalConfig, arg(name="")] = field(default_factory=LocalConfig)
    server: Annotated[ServerConfig, arg(name="")] = field(default_factory=ServerConfig)
    price: Annotated[Price, arg(name="")] = field(default_factory=Price)
    dry_run: Annotated[bool, arg(help="print the cells and the first prompt, ask nothing")] = False
    runs_dir: RunsDir = MemoryRuns

    def run(self) -> None:
        from retrieval_gap.experiments.memories.planning import print_plan
        from retrieval_gap.experiments.memories.work import check_headings
        from retrieval_gap.runs.experiment import RunOptions
        from retrieval_gap.runs.known import planned_runs
        from retrieval_gap.runs.perform import perform

        cells = self._plan().cells
        if self.dry_run:
            print_plan(cells)
            return
        for cell in cells:
            cell.validate()
        for cell in cells:
            perform(cell, RunOptions(runs_dir=self.runs_dir, threads=1, device=self.local.device))
        known = planned_runs(cells, self.runs_dir)
        for cell, each in zip(cells, known, strict=True):  # no_update's may be of a larger budget: its hash has none
            check_headings(cell.settings.budget, each.rows()[0].get("headings") or 0)
        show(known, "zero_shot", self.price)

    def _plan(self) -> "MemoryPlan":
        from retrieval_gap.experiments.memories.cell import MemoryCell
        from retrieval_gap.experiments.memories.planning import MemoryPlan, Varied

        varied = Varied(
            methods=[name for name in self.method.split(",") if name],
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
        return MemoryPlan(cell=cell, varied=varied, floors=self.floors)


@dataclass(frozen=True, kw_only=True)
class MemoryShowCommand:
    """The memory at each step of a run: the text, what changed and why, what was told, and the budget."""

    run_dir: Annotated[Positional[Path], arg(metavar="RUN", help="a run directory")]
    stream: int = 0

    def run(self) -> None:
        from rich.console import Console

        from retrieval_gap.experiments.memories.showing import show_run
        from retrieval_gap.runs.directory import RunDirectory

        show_run(RunDirectory(self.run_dir), self.stream, Console())


@dataclass(frozen=True, kw_only=True)
class MemoryTableCommand:
    """Floors and methods side by side, with paired differences over the same steps and their intervals."""

    against: Annotated[str, arg(help="the method, or floor, that the others are compared with")] = "zero_shot"
    price: Annotated[Price, arg(name="")] = field(default_factory=Price)
    csv: Annotated[Path | None, arg(help="write the rows there, such as results/memory_demo.csv")] = None
    runs_dir: RunsDir = MemoryRuns

    def run(self) -> None:
        from retrieval_gap.machine.files import make_room_for
        from retrieval_gap.runs.known import known_runs

        if self.csv is not None:
            make_room_for(self.csv)
        show(known_runs(self.runs_dir), self.against, self.price, self.csv)


def show(known: "Sequence[KnownRun]", against: str, price: Price, csv: Path | None = None) -> None:
    """Prints the comparisons of runs, and writes them where told; then raises RunError for runs that cannot be read.

    Raises UsageError where no memory run is done, and for a method that there is not.
    """
    from retrieval_gap.experiments.memories.comparison import compared_rows, print_compared, write_memory_table
    from retrieval_gap.experiments.memories.finished import find_finished
    from retrieval_gap.experiments.memories.seeds import pooled_over_seeds
    from retrieval_gap.runs.known import raise_unread

    found, troubles = find_finished(known)
    if not found and not troubles:
        raise UsageError("no run of memories is done here; `retrieval-gap memory run` makes one")
    rows = compared_rows([*found, *pooled_over_seeds(found)], against, price)
    if rows:
        print_compared(rows)
        if csv is not None:
            write_memory_table(csv, rows)
            print(f"{len(rows)} rows written to {csv}")
    raise_unread(troubles)


@dataclass(frozen=True, kw_only=True)
class MemoryCommand:
    """Streams that are predicted step by step, by a frozen language model that carries a text."""

    action: Annotated[
        Annotated[StreamCommand, subcommand("stream", prefix_name=False)]
        | Annotated[MemoryRunCommand, subcommand("run", prefix_name=False)]
        | Annotated[MemoryShowCommand, subcommand("show", prefix_name=False)]
        | Annotated[MemoryTableCommand, subcommand("table", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> None:
        self.action.run()
