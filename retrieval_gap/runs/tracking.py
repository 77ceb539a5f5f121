"""The reports of a run for who watches many: TensorBoard, Trackio or Weights & Biases, as a flag says.

None of them is needed, and none sends anything by itself: TensorBoard's files and W&B's, in its offline mode (`wandb
sync` sends them), are in the run's directory; Trackio keeps its own folder (TRACKIO_DIR).
"""

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from retrieval_gap.choices import LogName
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.experiment import Experiment

PROJECT = "retrieval-gap"
_log = logging.getLogger(__name__)
UNTRACKED = ("step", "samples")  # the axis, and what it is a multiple of


class Tracker(Protocol):
    """Takes numbers by name, at a count of samples trained."""

    def tell(self, numbers: Mapping[str, float], samples: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run's folder `tensorboard`.  What an earlier start told past the first samples is dropped."""

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self._folder = folder / "tensorboard"
        self._writer: Any = None

    def tell(self, numbers: Mapping[str, float], samples: int) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=samples)
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, samples)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class Trackio:
    """A local project of Trackio's; a run goes on under its name."""

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        import trackio

        self._trackio = trackio
        trackio.init(project=PROJECT, name=folder.name, config=experiment.to_json(), resume="allow")

    def tell(self, numbers: Mapping[str, float], samples: int) -> None:
        self._trackio.log(dict(numbers), step=samples)

    def close(self) -> None:
        self._trackio.finish()


class WeightsAndBiases:
    """A run of W&B's offline mode, in the run's folder `wandb`."""

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        import wandb

        self._run = wandb.init(
            project=PROJECT, name=folder.name, id=folder.name, config=experiment.to_json(), dir=str(folder),
            mode="offline",
        )  # fmt: skip

    def tell(self, numbers: Mapping[str, float], samples: int) -> None:
        self._run.log(dict(numbers), step=samples)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Path, Experiment], Tracker]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": WeightsAndBiases,
}


def check_tracker(log: LogName) -> None:
    """Raises UsageError where the package is not installed."""
    if log != "none" and importlib.util.find_spec(log) is None:
        raise UsageError(f"--log {log} needs the package {log}: pip install {log}")


@contextmanager
def tracked(log: LogName, folder: Path, experiment: Experiment) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """What takes a report of the run in that folder: its numbers, along the samples trained."""
    if log == "none":
        yield lambda told: None
        return
    check_tracker(log)
    tracker = TRACKERS[log](folder, experiment)

    with _Forgiving(log, tracker) as told_to:
        yield told_to.tell


class _Forgiving:
    """A tracker whose faults (a full disk, a server that is gone) cost its own reports and no training: the first is
    told in a line, and it is not asked again."""

    def __init__(self, log: LogName, tracker: Tracker) -> None:
        self._log, self._tracker, self._failed = log, tracker, False

    def __enter__(self) -> "_Forgiving":
        return self

    def __exit__(self, *_: object) -> None:
        self._attempt(self._tracker.close)

    def tell(self, told: Mapping[str, Any]) -> None:
        kinds = (int, float)
        numbers = {name: value for name, value in told.items() if type(value) in kinds and name not in UNTRACKED}
        self._attempt(lambda: self._tracker.tell(numbers, told["samples"]))

    def _attempt(self, work: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            work()
        except Exception as error:
            self._failed = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            _log.warning("--log %s fails, and is told no more of this run, which goes on (%s)", self._log, reason)
