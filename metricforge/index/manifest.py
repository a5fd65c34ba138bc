"""The manifest: one small file that says what an index consists of, replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from metricforge.atomic_write import write_atomically
from metricforge.errors import IndexFileError

FORMAT = 1
NAME = "index.json"


@dataclass(frozen=True)
class Manifest:
    """The state of an index. Every change replaces it atomically, so that a reader sees the old or the new state.

    Args:
        generation: grows by one with each change.
        model: folder of the model's bundle, relative to the index.
        model_hash: ``EmbeddingModel.hash``.
        dim: D.
        kind: how large segments are searched, see ``metricforge.index.kinds``.
        segments: names of the segments' folders, in the order they were added.
        deleted: file that lists the removed rows of each segment; None: nothing was removed.
        next_id: id of the next new image.
        settings: of the search structures, such as ``{"effort": 64}``.
        measured: recall, speed and size when the index was built.
        calibration: how similarities become probabilities, and the threshold of "unknown"; None: not calibrated.
    """

    generation: int
    model: str
    model_hash: str
    dim: int
    kind: str
    segments: tuple[str, ...] = ()
    deleted: str | None = None
    next_id: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] | None = None

    def write(self, index: Path) -> None:
        """Make this the state of ``index``, atomically."""
        content = json.dumps({"format": FORMAT, **asdict(self)}, indent=2, sort_keys=True)
        write_atomically(index / NAME, content + "\n")

    @classmethod
    def read(cls, index: Path) -> Manifest:
        """Read the current state of ``index``.

        Raises:
            IndexFileError: if there is none, or it is damaged or of another format.
        """
        path = index / NAME
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError as fault:
            raise IndexFileError(
                f"{index} is not an index (no {NAME}); build one with metricforge index MODEL SOURCE --out {index}"
            ) from fault
        except (OSError, ValueError) as fault:
            raise IndexFileError(f"{path} cannot be read ({fault}); build the index again") from fault
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise IndexFileError(f"{path} must have format {FORMAT} in this version; build the index again")
        names = {each.name for each in fields(cls)}
        if set(values) != names:
            raise IndexFileError(
                f"{path} must have the keys {sorted(names)}, got {sorted(values)}; build the index again"
            )
        return cls(**{**values, "segments": tuple(values["segments"])})
