"""`retrieval-gap memory`: streams, and frozen language models that carry a text from step to step."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from retrieval_gap.machine.errors import UsageError

BenchmarkName = Annotated[
    Positional[str], arg(metavar="BENCHMARK", help="weather, finance, clinical, recall, drift, or a .py file")
]
DataPath = Annotated[Path | None, arg(help="the benchmark's file or folder, where it has one")]
Options = Annotated[str, arg(help='the benchmark\'s own, such as "facts=16 values=8 corrections=4"')]
Steps = Annotated[int, arg(help="of a stream at the most; 0 means all that the data give")]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Print the steps of streams, without a model: input, truth, and when the truth is known."""

    benchmark: BenchmarkName
    data: DataPath = None
    count: Annotated[int, arg(help="streams to print, from number `first` on")] = 3
    first: int = 0
    steps: Steps = 100
    seed: Annotated[int, arg(help="of where streams start, or of what is drawn")] = 0
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
class Memory:
    """Streams that are predicted step by step, by a frozen language model that carries a text."""

    action: Annotated[Annotated[Stream, subcommand("stream", prefix_name=False)], arg(name="")]

    def run(self) -> None:
        self.action.run()
