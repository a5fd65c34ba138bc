"""How many pages a process faults in for tensors, after others of their size were freed."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import resource, sys
import torch

{first}
for _ in range(16):  # until the freed tensors make one room that fits the next
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_later_tensors(first: str, *arguments: str) -> int:
    """Count them in a fresh process that begins with the code ``first``, and has ``arguments`` in ``sys.argv``."""
    code = [sys.executable, "-c", SCRIPT.format(first=first), *arguments]
    return int(subprocess.run(code, capture_output=True, text=True, check=True).stdout)
