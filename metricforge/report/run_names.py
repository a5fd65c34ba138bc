"""Short names that tell runs apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metricforge.errors import MetricForgeError


def run_names(runs: Sequence[Path | str]) -> list[str]:
    """The last part of each path, preceded by as many parts as it takes to tell all of them apart.

    Raises:
        MetricForgeError: if one is named twice.
    """
    folders = [Path(run).resolve() for run in runs]
    if len(set(folders)) < len(folders):
        raise MetricForgeError(f"runs: {', '.join(map(str, runs))}: a folder is named twice; name each run once")
    for depth in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different folders have different paths")
