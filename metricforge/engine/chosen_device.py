"""The device that a command, or a caller, named."""

from __future__ import annotations

import torch

from metricforge.errors import ConfigError


def chosen_device(device: str | torch.device | None) -> torch.device:
    """The device to compute on; None: a GPU if there is one.

    Raises:
        ConfigError: if there is no such device on this machine, or nothing can be computed on it.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()  # "meta" has shapes alone
    except (RuntimeError, AssertionError, ImportError) as error:
        found = ["cpu"] + [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        raise ConfigError(
            [f"--device {device}: cannot be used; this machine has {', '.join(found)}"], "the command"
        ) from error
    return chosen
