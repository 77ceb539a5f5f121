"""Experiments with theorems as programs: a construction on a task's samples, a Turing machine on a word."""

from retrieval_gap.experiments.constructions.config import Setup

EXPERIMENT = Setup
