"""Text memories on streams: one method, on a number of streams, with one model."""

from retrieval_gap.experiments.memories.cell import MemoryCell

EXPERIMENT = MemoryCell
