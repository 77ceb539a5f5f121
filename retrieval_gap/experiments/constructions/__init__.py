"""Experiments with theorems as programs: a construction on a task's samples, a Turing machine on a word."""
