"""Measure where a fixed-size state stops being enough for in-context retrieval, and what gives it back."""

__version__ = "0.1.0"
