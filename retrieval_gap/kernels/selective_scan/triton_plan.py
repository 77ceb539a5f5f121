"""How a scan in Triton is cut into programs: all decisions by size, in one place.

Legend: B batch, L time, D channels, N states per channel.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from retrieval_gap.kernels.dispatch import triton_is_interpreted

# A program is one warp: a lane has a channel, and up to 16 of its states in registers. If there are more states, lanes
# share a channel, so that a tile has TILE entries.
WARP = 32
TILE = 512
# The forward kernel loads STRIP steps ahead of what it computes, and saves a state every CHUNK steps: as many bytes as
# two tensors like x in float32. The backward kernel keeps the states of PART steps in registers.
STRIP = 4
CHUNK = 8
PART = 4
# Sequences are cut into segments if there is less than one warp for each of a processor's four schedulers. No segment
# is shorter than SHORTEST_SEGMENT: a second pass over the inputs must pay for itself.
WARPS_PER_PROCESSOR = 4
SHORTEST_SEGMENT = 64
ONE_WARP = {"num_warps": 1, "num_stages": 1}


class Shape(NamedTuple):
    """Sizes compiled into a kernel: states per channel, the same padded, channels per block, the plan's unit, CHUNK,
    the steps of a STRIP that are loaded together, and whether every sequence consists of WHOLE strips."""

    STATES: Any
    N: Any
    BLOCK: Any
    UNIT: Any
    CHUNK: Any
    STRIP: Any
    WHOLE: Any


@dataclass(frozen=True, kw_only=True)
class ScanPlan:
    """The programs of one scan. They depend on its sizes and the number of processors alone, as do rounding errors.

    unit: rows of B and C begin at multiples of this many numbers (a power of two up to 16).
    """

    batch: int
    length: int
    channels: int
    states: int
    processors: int
    unit: int

    @property
    def padded(self) -> int:
        return power_of_two(self.states)

    @property
    def block(self) -> int:
        """Channels per program."""
        return max(2, min(WARP, TILE // self.padded))

    @property
    def blocks(self) -> int:
        return -(-self.channels // self.block)

    @property
    def chunks(self) -> int:
        return -(-self.length // CHUNK)

    @property
    def segment_length(self) -> int:
        """A multiple of CHUNK."""
        wanted = WARPS_PER_PROCESSOR * self.processors // (self.batch * self.blocks)
        segments = max(1, min(wanted, self.length // SHORTEST_SEGMENT))
        return max(1, -(-self.chunks // segments)) * CHUNK

    @property
    def segments(self) -> int:
        return max(1, -(-self.length // self.segment_length))

    def grid(self, segments: int) -> tuple[int]:
        """The number of programs for this many segments per sequence."""
        return (self.batch * self.blocks * segments,)

    def sizes(self, strip: int) -> dict[str, Any]:
        """The size arguments of every kernel.  strip: the number of steps it loads together."""
        whole = self.length > 0 and self.length % strip == 0
        shape = Shape(self.states, self.padded, self.block, self.unit, CHUNK, strip, whole)
        if not triton_is_interpreted():
            shape = Shape(*map(importlib.import_module("triton.language").constexpr, shape))
        return {"batch": self.batch, "channels": self.channels, "segments": self.segments, "SHAPE": shape} | ONE_WARP

    def times(self) -> dict[str, int]:
        """The further size arguments of kernels that loop over time."""
        return {"length": self.length, "segment_length": self.segment_length}


def power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()
