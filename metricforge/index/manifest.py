"""What an index consists of at this moment: one small file, replaced at once."""

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
    """The state of an index; every change writes a new one, so that a reader finds the old or the new state.

    Args:
        generation: grows by one with each change.
        model: the folder of the model's bundle, below the index.
        model_hash: ``EmbeddingModel.hash``.
        dim: D.
        kind: how large segments are searched, see ``metricforge.index.kinds``.
        segments: names of the folders with vectors, in the order in which they were added.
        deleted: the file that says which rows of which segment are gone; None: none are.
        next_id: the id that the next new image gets.
        settings: of the search structures, such as ``{"efSearch": 64}``.
        measured: what was measured when it was built.
        calibration: similarities as probabilities and the threshold of "unknown"; None: not calibrated.
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
        """Makes this the state of ``index``, at once."""
        content = json.dumps({"format": FORMAT, **asdict(self)}, indent=2, sort_keys=True)
        write_atomically(index / NAME, content + "\n")

    @classmethod
    def read(cls, index: Path) -> Manifest:
        """The present state of ``index``.

        Raises:
            IndexFileError: if there is none, or it is damaged or of another format.
        """
        path = index / NAME
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError as fault:
            raise IndexFileError(
                f"{index}: is no index (it has no {NAME}); build one: metricforge index MODEL SOURCE --out {index}"
            ) from fault
        except (OSError, ValueError) as fault:
            raise IndexFileError(f"{path}: cannot be read ({fault}); build the index again") from fault
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise IndexFileError(f"{path}: is of another format than {FORMAT}, which this version reads")
        names = {each.name for each in fields(cls)}
        if set(values) != names:
            raise IndexFileError(f"{path}: must have {sorted(names)}, and has {sorted(values)}; build the index again")
        return cls(**{**values, "segments": tuple(values["segments"])})
