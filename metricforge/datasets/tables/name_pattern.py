"""What the names of files say, such as person and camera in ``0002_c1s1_000451_03.jpg``."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from metricforge.datasets.tables.table_options import OPTIONAL

_GROUPS = ("label", *OPTIONAL)


def check_pattern(pattern: str) -> re.Pattern[str]:
    """``pattern`` compiled.

    Raises:
        ValueError: if it is no regular expression, has no group called label, or has groups of unknown names.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as fault:
        raise ValueError(f"pattern {pattern!r} is not a regular expression ({fault})") from fault
    unknown = [name for name in compiled.groupindex if name not in _GROUPS]
    if unknown or "label" not in compiled.groupindex:
        raise ValueError(
            f"pattern {pattern!r} must name a group label, and may name {', '.join(_GROUPS[1:])}, such as "
            r'"(?P<label>-?\d+)_c(?P<camera>\d+)"' + (f"; it names {', '.join(unknown)}" if unknown else "")
        )
    return compiled


def read_names(pattern: re.Pattern[str], paths: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """What the groups of ``pattern`` find in each path (N,), first in its file's name; null where it is not found."""
    found = []
    for path in paths:
        found.append(pattern.search(path.rpartition("/")[2]) or pattern.search(path))
    return {
        group: pa.chunked_array([[None if match is None else match[group] for match in found]], pa.large_string())
        for group in pattern.groupindex
    }
