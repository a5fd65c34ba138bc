"""Evaluation mode for a while: nothing that runs in it changes a buffer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Puts every module of ``model`` into evaluation mode, and each back into its own mode at the end, errors included.

    ``model.train(was_training)`` would not do: it also puts those into training mode that were in evaluation mode on
    purpose, such as a BatchNorm whose statistics stay as they are.
    """
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
