"""CUDA graphs, and the time that a GPU is busy with them.

A model of a million parameters is hundreds of kernels of a few microseconds each; started one by one from Python they
take many times as long.  A graph starts them all together.  A graph's tensors must live as long as the graph and change
in place, no shape may depend on a value, and the host must not read a value (PyTorch's notes on CUDA semantics, section
"CUDA Graphs").
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from retrieval_gap.machine.devices import is_out_of_memory

# Calls before the capture: in the first, libraries initialise themselves and kernels are compiled.
WARM_UP_CALLS = 2
# Pieces of work that may be queued on the GPU; each keeps its batch in memory.
IN_FLIGHT = 8
_log = logging.getLogger(__name__)


class Replay:
    """A function without arguments, on tensors that stay in place.  On a GPU the third call captures a graph of it,
    which that call and all later ones replay; on the CPU every call runs the function.

    Every call does the work once, warm-up calls included.
    pool: from `graph_pool`; may be shared by graphs that never run at the same time and leave nothing in their own
    memory that another run reads.
    """

    def __init__(self, work: Callable[[], None], device: torch.device, pool: Any = None) -> None:
        self._work = work
        self._pool = pool
        self._eager_calls = WARM_UP_CALLS if device.type == "cuda" else None  # None: all of them
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do the work once.  Raises torch.OutOfMemoryError if memory runs out; the work is then not done."""
        if self._eager_calls == 0:
            self._graph = self._capture()
            self._eager_calls = None
        if self._graph is not None:
            self._graph.replay()
        elif self._eager_calls is None:
            self._work()
        else:
            self._warm_up()
            self._eager_calls -= 1

    def _warm_up(self) -> None:
        """Do the work on a side stream, as a capture does: autograd remembers the stream that first made a gradient."""
        now = torch.cuda.current_stream()
        assert self._side is not None
        self._side.wait_stream(now)
        with torch.cuda.stream(self._side):
            self._work()
        now.wait_stream(self._side)

    def _capture(self) -> torch.cuda.CUDAGraph | None:
        """The graph; or None, with a warning, where the work cannot be captured (a user's own architecture may read
        values).  Other threads pin memory meanwhile, which only a thread-local capture allows."""
        graph = torch.cuda.CUDAGraph()
        try:
            with (
                torch.cuda.stream(torch.cuda.current_stream()),  # a failed capture leaves torch's own stream current
                torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"),
            ):
                self._work()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise torch.OutOfMemoryError(str(error)) from error
            _log.warning("no CUDA graph can be made (%s); every operation is started by itself, slowly", error)
            return None
        return graph


def graph_pool(device: torch.device) -> Any:
    """A memory pool for graphs; None on the CPU."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None


class BusyClock:
    """Measures how long a GPU works, by events before and after each timed piece; at most IN_FLIGHT are queued."""

    def __init__(self) -> None:
        self._queued: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()
        self._busy_ms = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        yield
        end.record()
        self._queued.append((begin, end))
        if len(self._queued) > IN_FLIGHT:
            self._settle()

    def take(self) -> float:
        """Busy seconds since the last call; waits for queued work."""
        while self._queued:
            self._settle()
        busy_ms, self._busy_ms = self._busy_ms, 0.0
        return busy_ms / 1e3

    def _settle(self) -> None:
        begin, end = self._queued.popleft()
        end.synchronize()
        self._busy_ms += begin.elapsed_time(end)
