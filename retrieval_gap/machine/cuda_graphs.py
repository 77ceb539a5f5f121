"""Work that a GPU is given as a whole: a CUDA graph, and how long the GPU was busy with it.

A model of a million parameters is hundreds of kernels of a few microseconds; started one by one from Python they take
many times as long.  A graph starts them all at once.  What may be in one (PyTorch's notes on CUDA semantics, section
"CUDA Graphs"): tensors that live as long as the graph and are changed in place, no shape that depends on a value, and
no look at a value from the host.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from retrieval_gap.machine.devices import is_out_of_memory

# Calls before the capture: libraries set themselves up in the first, and kernels are compiled.
WARM_UP_CALLS = 2
# Pieces of work that may wait for the GPU; each keeps its batch in memory.
IN_FLIGHT = 8
_log = logging.getLogger(__name__)


class Replay:
    """Work without arguments on tensors that stay where they are.  On a GPU the third call captures it, and that call
    and all later ones replay the graph; on the CPU every call is the work itself.

    Every call does the work once: the warm-up is no rehearsal.
    pool: of `graph_pool`, shared by graphs that never run at the same time and leave nothing in their own memory that
    another run reads.
    """

    def __init__(self, work: Callable[[], None], device: torch.device, pool: Any = None) -> None:
        self._work = work
        self._pool = pool
        self._eager_calls = WARM_UP_CALLS if device.type == "cuda" else None  # None: for ever
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Raises torch.OutOfMemoryError where the memory does not suffice; the work is then not done."""
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
        """On a side stream, as a capture will be: autograd remembers the stream that a gradient was first made on."""
        now = torch.cuda.current_stream()
        assert self._side is not None
        self._side.wait_stream(now)
        with torch.cuda.stream(self._side):
            self._work()
        now.wait_stream(self._side)

    def _capture(self) -> torch.cuda.CUDAGraph | None:
        """The graph, or None, with a line that says why, where the work cannot be captured (a user's own architecture
        may look at values).  Other threads go on pinning memory meanwhile, which only a thread-local capture bears."""
        graph = torch.cuda.CUDAGraph()
        try:
            with (
                torch.cuda.stream(torch.cuda.current_stream()),  # torch leaves its own where a capture fails
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
    """A pool of memory for graphs; None on the CPU."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None


class BusyClock:
    """How long a GPU worked on timed pieces of work, by events before and after each; at most IN_FLIGHT are queued."""

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
        """Seconds since the last call; waits for the work that is queued."""
        while self._queued:
            self._settle()
        busy_ms, self._busy_ms = self._busy_ms, 0.0
        return busy_ms / 1e3

    def _settle(self) -> None:
        begin, end = self._queued.popleft()
        end.synchronize()
        self._busy_ms += begin.elapsed_time(end)
