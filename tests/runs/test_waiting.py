"""Waiting threads release their core after a while, unless the user chose otherwise."""

import os
import subprocess
import sys

import pytest

PROGRAM = "import os, sys, retrieval_gap; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"


@pytest.mark.parametrize(
    ("given", "set_to"),
    [({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_the_spin_time_of_threads_is_set_before_torch_reads_it(given: dict[str, str], set_to: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=clean | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [set_to, "False"]
