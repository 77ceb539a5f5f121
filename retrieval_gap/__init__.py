"""Measure where a fixed-size state stops being enough for in-context retrieval, and what gives it back."""

import os

__version__ = "0.1.0"

# GNU OpenMP's threads spin for milliseconds while they wait for work: two programs on the same cores then take each
# other's time, up to 25-fold (docs/cpu.md).  It reads this when torch is first imported; a user's own setting stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
