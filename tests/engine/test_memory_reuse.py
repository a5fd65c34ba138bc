from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS_OF_LATER_ALLOCATIONS = """
import resource, sys
import torch
from metricforge.engine.memory_reuse import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(16):  # until the freed tensors make one room that fits the next
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    result = subprocess.run(
        [sys.executable, "-c", FAULTS_OF_LATER_ALLOCATIONS, how], capture_output=True, text=True, check=True
    )
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc's malloc")
def test_a_tensor_takes_the_pages_of_one_that_was_freed():
    assert faults("kept") * 10 < faults("given back")
