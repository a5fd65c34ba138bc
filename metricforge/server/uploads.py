"""Images that were added over HTTP: files below the index, named by their content."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa

from metricforge.atomic_write import write_atomically
from metricforge.datasets.string_column import StringColumn
from metricforge.index import SearchIndex
from metricforge.server.refused_error import RefusedError
from metricforge.server.uploaded_image import FORMATS

NAME = "uploads"
LONGEST_NAME = 80  # characters


class Upload(NamedTuple):
    """A file that a client sent: its name there, its content and its format, one of ``FORMATS``."""

    name: str
    content: bytes
    format: str


class Uploads:
    """The folder of an index that images added over HTTP lie in.

    Args:
        index: the index.
    """

    def __init__(self, index: SearchIndex) -> None:
        self._index = index
        self.folder = (index.path / NAME).absolute()

    def holds(self, path: str) -> bool:
        """Whether the image at ``path`` was added over HTTP."""
        return path.startswith(f"{self.folder}/")

    def add(self, uploads: Sequence[Upload], label: str | None) -> list[int]:
        """Add the images, and give their ids; what was added before under the same name keeps its id.

        Where the index takes none, such as while another process changes it, no new file stays.

        Raises:
            RefusedError: if the index's labels are of a type that ``label`` does not fit.
        """
        from metricforge.deployment.image_collection import ImageCollection  # imports torch, which a search need not

        names = list(dict.fromkeys(self._name(upload) for upload in uploads))
        columns: dict[str, Any] = {"path": pa.array(names, pa.large_string())}
        if label is not None:
            columns["label"] = self._labels(label, len(names))
        new = [self.folder / name for name in names if not (self.folder / name).exists()]
        try:
            for upload in uploads:
                write_atomically(self.folder / self._name(upload), upload.content)
            ids = self._index.add(
                ImageCollection("the upload", str(self.folder), StringColumn(columns["path"]), pa.table(columns))
            )
        except BaseException:
            for file in new:
                file.unlink(missing_ok=True)
            raise
        by_name = dict(zip(names, ids, strict=True))
        return [by_name[self._name(upload)] for upload in uploads]

    def remove(self, ids: Sequence[int]) -> int:
        """Remove images, the files of those that were added over HTTP too, and give their number."""
        snapshot = self._index.snapshot()
        places = [place for place in map(snapshot.place_of, ids) if place is not None]
        paths = [str(snapshot.segments[number].table["path"][row].as_py()) for number, row in places]
        removed = self._index.remove(ids)
        for path in paths:
            if self.holds(path):
                Path(path).unlink(missing_ok=True)
        return removed

    def _name(self, upload: Upload) -> str:
        """A path below the folder: of the content's hash and of what can be kept of the client's name."""
        stem = PurePosixPath(upload.name.replace("\\", "/")).stem
        kept = "".join(each for each in unicodedata.normalize("NFC", stem) if each.isprintable() and each not in "/\\")
        safe = kept.strip(". ").encode("utf-8", "ignore")[:LONGEST_NAME].decode("utf-8", "ignore") or "image"
        return f"{hashlib.sha256(upload.content).hexdigest()[:16]}/{safe}.{FORMATS[upload.format]}"

    def _labels(self, label: str, count: int) -> pa.Array:
        types = [each.table.schema.field("label").type for each in self._index.snapshot().segments if _labelled(each)]
        try:
            return pa.array([label] * count, pa.large_string()).cast(types[0] if types else pa.large_string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
            raise RefusedError(422, f"label {label!r} is none of the index's, which are {types[0]}") from fault


def _labelled(segment: Any) -> bool:
    return "label" in segment.table.column_names
