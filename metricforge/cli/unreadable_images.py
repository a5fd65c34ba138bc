"""How commands list images that could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

SHOWN = 5


def unreadable_lines(images: Sequence[tuple[str, str]], without: str, listed_in: Path) -> Iterator[str]:
    """Yield what is said of ``images``, each a path and its fault: how many are ``without`` what, and the first."""
    if not images:
        return
    yield f"{len(images):,} images could not be read and {without}:"
    for _, fault in images[:SHOWN]:
        yield f"  {fault}"
    if len(images) > SHOWN:
        yield f"  ... all of them: {listed_in}"
