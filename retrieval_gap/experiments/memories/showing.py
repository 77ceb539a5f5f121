"""Shows a run's memory at each step: the text, what changed and why, the budget as a bar."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from retrieval_gap.experiments.memories.cell import STEPS, MemoryCell
from retrieval_gap.experiments.memories.work import read_log
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.directory import RunDirectory

BAR = 40
COLOURS = {"+": "green", "-": "red"}


def show_run(run: RunDirectory, stream: int, console: Console) -> None:
    """Print one stream of a run, step by step.

    Raises UsageError if it is no finished memory run or has no such stream, RunError if the log is damaged or of
    another run.
    """
    cell = run.experiment()
    if not isinstance(cell, MemoryCell):
        raise UsageError(f"{run.path} is a run of {cell.kind}, not of `memory run`")
    if run.status() != "done":
        raise UsageError(f"{run.path} is {run.status()}; `memory run` again goes on with it")
    steps = read_log(run.path / STEPS, run.rows(cell)[0]["config_hash"])
    chosen = [step for step in steps if step["stream"] == stream]
    if not chosen:
        raise UsageError(f"--stream {stream}: {run.path} has streams 0 to {max(step['stream'] for step in steps)}")
    budget = int(cell.relevant().get("budget", 0))
    for step in chosen:
        console.print(_shown(step, budget))


def _shown(step: Mapping[str, Any], budget: int) -> Panel:
    parts: list[Any] = [Text(step["input"])]
    if step["asked"]:
        parts.append(_prediction(step))
    if step["feedback"]:
        parts.append(Text(step["feedback"], style="italic"))
    if step["carried"]:
        parts.append(Panel(Text(step["carried"]), title="carried", title_align="left", border_style="dim"))
    parts.append(_bar(step["carried_tokens"], budget))
    for version in step["versions"]:
        parts.append(_version(version))
    return Panel(Group(*parts), title=f"step {step['step']}  {step['time']}", title_align="left")


def _prediction(step: Mapping[str, Any]) -> Text:
    truth, predicted = step["truth"], step["predicted"]
    if predicted is None:
        return Text(f"not readable: {step['reply'][:200]!r} (the truth: {truth})", style="yellow")
    style = {True: "green", False: "red"}.get(step["right"], "")
    return Text(f"predicted {predicted}, the truth: {truth}", style=style)


def _bar(tokens: int, budget: int) -> Text:
    if not budget:
        return Text(f"{tokens} tokens", style="dim")
    full = round(BAR * min(tokens / budget, 1))
    return Text(f"[{'#' * full}{'.' * (BAR - full)}] {tokens} of {budget} tokens", style="dim")


def _version(version: Mapping[str, Any]) -> Group:
    told = f": {version['told']}" if version["told"] else ""
    lines = [Text(f"memory {version['reason']}{told} ({version['tokens']} tokens)", style="bold")]
    lines += [Text(line, style=COLOURS.get(line[:1], "")) for line in version["diff"]]
    return Group(*lines)
