"""Grids of runs: configurations, run directories, executors, result tables."""
