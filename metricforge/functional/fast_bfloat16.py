"""Whether a device computes in bfloat16, or only imitates it."""

from __future__ import annotations

import re
from pathlib import Path

import torch

CPU = Path("/proc/cpuinfo")
FLAGS = frozenset(("avx512_bf16", "amx_bf16", "bf16"))  # bf16 alone: of ARM


def has_fast_bfloat16(device: str | torch.device) -> bool | None:
    """Whether ``device`` has instructions for bfloat16, without which it is slower than float32; None if unknown."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.device(device).type != "cpu" or not CPU.is_file():
        return None
    told = re.search(r"^(?:flags|Features)\s*:(.*)$", CPU.read_text(), re.MULTILINE)
    return None if told is None else not FLAGS.isdisjoint(told[1].split())
