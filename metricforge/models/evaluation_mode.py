"""Temporary evaluation mode, in which no buffer changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module of ``model`` into evaluation mode, and each back into its own mode at the end, even on errors.

    ``model.train(was_training)`` would also switch modules to training mode that were in evaluation mode on purpose,
    such as a BatchNorm with fixed statistics.
    """
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
