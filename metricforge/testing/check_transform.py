"""The contract of a transform as a test."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metricforge.testing.clause import clause, require


def check_transform(transform: Callable[[Any], Any], *, height: int = 48, width: int = 64) -> None:
    """Test a transform against the contract.

    - a uint8 image (3, H, W) gives a uint8 image (3, H', W'), and stays as it is;
    - images of one colour and images of another shape are transformed too;
    - with the same state of torch's generator it gives the same image, and it leaves those of Python and numpy alone;
    - workers get a copy: it can be pickled.

    Args:
        transform: the transform.
        height: H of the images to test with; large enough for what it crops.
        width: W, another number.

    Raises:
        AssertionError: naming the clause that failed.
    """
    with clause(transform, "it can be called"):
        require(callable(transform), "it has no method __call__")
    image = torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for name, given in (
        ("an image", image),
        ("an upright image", image.transpose(1, 2).contiguous()),
        ("an image of one colour", torch.full_like(image, 128)),
    ):
        before = given.clone()
        first = _apply(transform, given, name)
        with clause(transform, f"the image stays as it is ({name})"):
            require(torch.equal(given, before), "it was changed in place; work on image.clone()")
        with clause(transform, f"the same state of torch's generator gives the same image ({name})"):
            require(torch.equal(first, _apply(transform, given, name)), "it differs; draw from torch's generator alone")
    with clause(transform, "it leaves the generators of Python and numpy alone"):
        states = random.getstate(), np.random.get_state(legacy=True)[1].tobytes()  # type: ignore[index, union-attr]
        _apply(transform, image, "an image")
        now = random.getstate(), np.random.get_state(legacy=True)[1].tobytes()  # type: ignore[index, union-attr]
        require(states == now, "one of them has moved; draw from torch's, which is seeded for each sample")
    with clause(transform, "workers get a copy of it"):
        pickle.loads(pickle.dumps(transform))


def _apply(transform: Callable[[Any], Any], image: Tensor, name: str) -> Tensor:
    with torch.random.fork_rng(devices=[]), clause(transform, f"it gives a uint8 image ({name})"):
        torch.manual_seed(0)
        found: Tensor = transform(image)
        require(isinstance(found, Tensor), f"got {type(found).__name__}")
        require(found.dtype == torch.uint8, f"it is {found.dtype}")
        require(found.dim() == 3 and found.shape[0] == 3, f"shape {tuple(found.shape)}, not (3, H, W)")
    return found
