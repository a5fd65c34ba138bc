"""Whether a benchmark is whole: the numbers of classes and images that its authors published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metricforge.errors import DatasetError


def check_counts(
    benchmark: str, source: Path, split: str, found: tuple[int, int], official: tuple[int, int], again: str
) -> None:
    """Raises DatasetError unless ``found`` (classes, images), which ``source`` lists, is ``official``.

    Args:
        benchmark: its name.
        source: the list file or folder that was counted.
        split: which part of it.
        found: classes and images.
        official: what they must be.
        again: what to unpack again.
    """
    if found != official:
        raise DatasetError(
            f"{source} lists {found[1]:,} images of {found[0]:,} {split} classes; {benchmark} has {official[1]:,} of "
            f"{official[0]:,}{_difference(found, official)}; {again}, or set check_counts=False to use a part"
        )


def _difference(found: tuple[int, int], official: tuple[int, int]) -> str:
    parts = []
    for here, right, what in zip(found, official, ("classes", "images"), strict=True):
        if here != right:
            parts.append(f"{abs(right - here):,} {what} {'are missing' if here < right else 'are too many'}")
    return f": {' and '.join(parts)}"


def check_files(root: Path, files: Sequence[str], listed_by: str, again: str) -> None:
    """Raises DatasetError, naming some, unless every one of ``files`` is under ``root``."""
    missing = [file for file in files if not (root / file).is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing):,} of {len(files):,} images that {listed_by} lists are missing from {root}, "
            f"such as {', '.join(missing[:3])}; {again}"
        )
