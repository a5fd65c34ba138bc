"""``scores.json``: scores and their protocol in one file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path


def write_scores(path: Path | str, scores: Mapping[str, float], protocol: Mapping[str, object]) -> None:
    """Writes ``{"scores": ..., "protocol": ...}`` to ``path``, whole or not at all, each score to its last digit.

    Folders that are missing are made.

    Raises:
        ValueError: for a score that is not finite.
        TypeError: for a protocol that JSON cannot hold.
    """
    path = Path(path)
    broken = {name: value for name, value in scores.items() if not math.isfinite(value)}
    if broken:
        raise ValueError(f"scores must be finite, got {broken}; nothing was written to {path}")
    content = {"scores": {name: float(value) for name, value in scores.items()}, "protocol": dict(protocol)}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_scores(path: Path | str) -> tuple[dict[str, float], dict[str, object]]:
    """The scores and the protocol that ``write_scores`` wrote to ``path``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        scores = {str(name): float(value) for name, value in content["scores"].items()}
        return scores, dict(content["protocol"])
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ValueError(
            f'{path} is not a scores file, which holds {{"scores": {{...}}, "protocol": {{...}}}}: '
            f"{type(fault).__name__}: {fault}"
        ) from fault
