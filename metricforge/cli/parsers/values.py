"""What the value of an option must be."""

from __future__ import annotations

import argparse
import ipaddress
import math
import os
from pathlib import Path

from metricforge.atomic_write import check_writable


def named_path(text: str) -> Path:
    """A path with ``~`` for the home folder, which a shell leaves alone in ``--out=~/photos``.

    It is not empty, as that of an unset variable is: ``Path`` takes that for the present folder.
    """
    if not text:
        raise argparse.ArgumentTypeError("is empty; name a path, such as . for the present folder")
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's own fails for ~ before the name of nobody


def file_to_write(text: str) -> Path:
    """A path that a file can be written to: said before the work whose end it would spoil."""
    path = named_path(text)
    try:
        check_writable(path)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: cannot be written ({error.strerror})") from error
    return path


def at_least_1(text: str) -> int:
    """A whole number >= 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number >= 1")
    return int(text)


def at_least_0(text: str) -> int:
    """A whole number >= 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number >= 0")
    return int(text)


def fraction(text: str) -> float:
    """A number in 0..1, both excluded."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a number between 0 and 1, both excluded")
    return value


def score_names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def finite(text: str) -> float:
    """A number that is neither infinite nor NaN."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text}")
    return value


def share(text: str) -> float:
    """A number above 0 and at most 1."""
    return 1.0 if text in ("1", "1.0") else fraction(text)


def memory_size(text: str) -> float:
    """Bytes, from a number with kB, MB, GB or TB, or none of them."""
    units = {"tb": 1e12, "gb": 1e9, "mb": 1e6, "kb": 1e3, "b": 1.0, "": 1.0}
    number = text.strip().lower()
    unit = next(name for name in units if number.endswith(name))
    try:
        size = float(number.removesuffix(unit)) * units[unit]
    except ValueError:
        size = 0.0
    if not 1 <= size < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: must be a number of bytes, such as 2GB or 500MB")
    return size


def not_empty(text: str) -> str:
    """Text, and not that of an unset variable."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; leave it out")
    return text


def proxy_address(text: str) -> str:
    """An IP address or a network of them; a name would be compared with addresses and never be the same."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(
            f"{text}: must be an IP address or a network, such as 127.0.0.1 or 10.0.0.0/8"
        ) from fault
    return str(network) if "/" in text else text


def port_number(text: str) -> int:
    """A port, or 0 for one that is free."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number in 0..65535")
    return int(text)
