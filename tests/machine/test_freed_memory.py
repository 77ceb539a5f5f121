"""A process that asked to keep freed memory takes the same block again without page faults."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from retrieval_gap.machine.freed_memory import keep_freed_memory
if not keep_freed_memory(): print("no glibc")
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    blocks = [torch.ones(2**20) for _ in range(16)]
work()
before = faults()
for _ in range(10):
    work()
print(faults() - before)
"""


def test_memory_is_kept_from_one_step_to_the_next() -> None:
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    if "no glibc" in done.stdout:
        pytest.skip("the C library is not glibc")
    # Ten times 64 MiB at 4 KiB a page would be 160,000.
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16_000
