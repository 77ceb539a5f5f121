"""The summary that is printed at the end of a run."""

from pathlib import Path

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.rows import shown_values_of
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Row


def print_ending(config: RunConfig, row: Row, runs_dir: Path) -> None:
    """Print accuracy with interval and chance, exact traces, model size, the directory, and how to see its samples."""
    told = shown_values_of(row)
    directory = RunDirectory.of(config, runs_dir).path
    chance = f", chance {told['chance']}" if told["chance"] else ""
    print(f"accuracy     {told['accuracy']}  [{told['95 %']}]{chance}; {row['eval_samples']:,} held-out samples")
    print(f"exact trace  {told['exact']}, undecided {told['undecided']}")
    print(f"model        {row['parameters']:,} parameters, {row['state_bits']:,} bits of state")
    print(f"directory    {directory}")
    print(f"samples      {directory / 'samples.jsonl'}; retrieval-gap report --runs-dir {runs_dir} shows them")
