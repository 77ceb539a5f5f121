"""Heads over a language model's token states: does reading them in order help?"""

from retrieval_gap.experiments.heads.config import HeadsConfig

EXPERIMENT = HeadsConfig
