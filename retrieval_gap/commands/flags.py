"""Flags that several commands share, with the same name and help everywhere."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from tyro.conf import arg

from retrieval_gap.choices import BackendName, ChangedFiles, DeviceName, LogName, RetrieverName
from retrieval_gap.machine.errors import UsageError, unknown

Device = Annotated[DeviceName, arg(help="device to run on; auto: the GPU if there is one")]
RunsDir = Annotated[Path, arg(help="folder of the run directories")]
KeepWeights = Annotated[bool, arg(help="keep the weights of finished runs, for `eval`, `probe` and `transfer`")]
CheckpointSeconds = Annotated[float, arg(help="seconds between checkpoints: the most that a killed run loses")]
Log = Annotated[LogName, arg(help="also log metrics here, besides metrics.jsonl; nothing is uploaded")]
Only = Annotated[str, arg(help="run only these cells, such as 'n=8 arch=mamba,lstm mode=cot'")]
Changed = Annotated[ChangedFiles, arg(help="what to do if one of your files has changed since the run")]
Family = Annotated[str, arg(help='distribution of problems; "" means the task\'s first')]
Retriever = Annotated[RetrieverName | None, arg(help="search engine; default: the task's fastest")]
DataSeed = Annotated[int, arg(help="seed of the data")]
TestSamples = Annotated[int, arg(help="test samples; 0 means as many as in the run")]
RunWorkers = Annotated[int, arg(help="worker processes, one run and one thread each; 0 means one per core")]
ShowPrompt = Annotated[bool, arg(help="print the cells and the first prompt; run nothing")]
ScanBackend = Annotated[BackendName, arg(help="implementation of Mamba's scan; auto: the fastest on this machine")]

Name = TypeVar("Name")


def check_seconds(seconds: float) -> None:
    """Raise UsageError for an invalid time between checkpoints."""
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"--checkpoint-seconds {seconds:g} is invalid: expected 0 or more")


def check_samples(samples: int) -> None:
    """Raise UsageError for an invalid number of samples; 0 means the run's own."""
    if not 0 <= samples < 2**63:
        raise UsageError(f"--samples {samples} is out of range: expected 0 to 2**63 - 1")


def names(flag: str, text: str, allowed: Sequence[Name]) -> list[Name]:
    """The names in a list such as truth,none.  Raises UsageError for one that is not allowed, with the nearest."""
    known = {str(name): name for name in allowed}
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in known:
            raise unknown(f"value of {flag}", word, known)
    return [known[word] for word in words]


def whole_numbers(flag: str, text: str, smallest: int, largest: int) -> list[int]:
    """The numbers in a list such as 0,4,16.  Raises UsageError for anything but whole numbers in this range."""
    words = text.split(",")
    if not all(re.fullmatch(r"\s*\d{1,19}\s*", word) and smallest <= int(word) <= largest for word in words):
        wanted = f"whole numbers from {smallest} to {largest}, such as 4,16"
        raise UsageError(f"{flag} {text} is invalid: expected {wanted}")
    return [int(word) for word in words]
