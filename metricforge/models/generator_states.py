"""Where the generators of random numbers are, so that what is drawn next can be drawn again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class GeneratorStates:
    """The states of the global generators of Python, numpy, torch and, if it is a GPU, of the device.

    Examples:
        >>> states = GeneratorStates.now(torch.device("cpu"))
        >>> first = torch.rand(3)
        >>> states.restore()
        >>> torch.equal(torch.rand(3), first)
        True
    """

    python: Any
    numpy: Any
    host: Tensor
    device: torch.device
    on_device: Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> GeneratorStates:
        """As they are, with those of ``device``."""
        on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), device, on_device)

    def restore(self) -> None:
        """Put the generators where they were."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.host)
        if self.on_device is not None:
            torch.cuda.set_rng_state(self.on_device, self.device)
