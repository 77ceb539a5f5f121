"""Log the reports of a run to TensorBoard, Trackio or Weights & Biases, as a flag chooses.

None of them is required, and none uploads anything by itself: TensorBoard's files and W&B's, in its offline mode
(`wandb sync` uploads them), are in the run's directory; Trackio has its own folder (TRACKIO_DIR).
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
UNTRACKED = ("step", "samples")  # samples are the axis, and a multiple of step


class Tracker(Protocol):
    """Logs numbers by name, at a number of training samples."""

    def tell(self, numbers: Mapping[str, float], samples: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run's folder `tensorboard`.  A start drops earlier starts' events from its first report on."""

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
    """A local Trackio project; a resumed run continues under its name."""

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        import trackio

        self._trackio = trackio
        trackio.init(project=PROJECT, name=folder.name, config=experiment.to_json(), resume="allow")

    def tell(self, numbers: Mapping[str, float], samples: int) -> None:
        self._trackio.log(dict(numbers), step=samples)

    def close(self) -> None:
        self._trackio.finish()


class WeightsAndBiases:
    """A W&B run in offline mode, in the run's folder `wandb`."""

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
    """Raise UsageError if the package is not installed."""
    if log != "none" and importlib.util.find_spec(log) is None:
        raise UsageError(f"--log {log} needs the package {log}: pip install {log}")


@contextmanager
def tracked(log: LogName, folder: Path, experiment: Experiment) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that logs a report of the run in that folder: its numbers, by training samples.

    A tracker's errors (a full disk, a lost server) do not stop training: the first is logged in a line, and the tracker
    is not used again."""
    if log == "none":
        yield lambda told: None
        return
    check_tracker(log)
    tracker, failed = TRACKERS[log](folder, experiment), False

    def attempt(work: Callable[[], None]) -> None:
        nonlocal failed
        if failed:
            return
        try:
            work()
        except Exception as error:
            failed = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            _log.warning("--log %s failed and is off for the rest of this run (%s)", log, reason)

    def tell(told: Mapping[str, Any]) -> None:
        kinds = (int, float)
        numbers = {name: value for name, value in told.items() if type(value) in kinds and name not in UNTRACKED}
        attempt(lambda: tracker.tell(numbers, told["samples"]))

    try:
        yield tell
    finally:
        attempt(tracker.close)
