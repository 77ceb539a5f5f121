"""Models that are trained here: one run, from its configuration to its row."""

from retrieval_gap.experiments.trained.config import RunConfig

EXPERIMENT = RunConfig
