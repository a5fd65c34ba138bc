"""What holds for all tests, those of the plug-ins and examples too: the same every time, unless asked otherwise."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import torch

torch.set_num_threads(1)

# "repeatable" tries the same inputs every time. "fuzz" (make fuzz) draws new ones and keeps those that failed in
# .hypothesis, from where they are tried first; one that showed a fault stays for good as an @example of its test.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.register_profile("fuzz", deadline=None, max_examples=500, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
