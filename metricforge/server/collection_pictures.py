"""The pictures of an index's images, small, by id; no other file can be asked for."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import fsspec
import pyarrow.compute as pc
from PIL import Image

from metricforge.datasets.decoding.decode_image import decode_image
from metricforge.datasets.decoding.regular_file import read_regular_file
from metricforge.datasets.shards.shard_part import ShardPart
from metricforge.datasets.shards.shard_reader import ShardReader, is_remote
from metricforge.errors import DatasetError
from metricforge.index import SearchIndex
from metricforge.index.segment import Segment
from metricforge.server.refused_error import RefusedError
from metricforge.server.uploaded_image import format_of
from metricforge.server.uploads import Uploads

SIZES = (128, 256, 512, 1024)  # pixels of the longer side
QUALITY = 90
MOST_CACHED_BYTES = 64 * 2**20


class Picture(NamedTuple):
    """A JPEG file, and a name that changes when it does."""

    content: bytes
    tag: str


class CollectionPictures:
    """Makes small JPEGs of the index's images, and keeps those that were asked for last.

    A file is served if it lies, all links followed, in the folder that the images of its segment were added from.

    Args:
        index: whose images.
        uploads: where those lie that were added over HTTP.
        most_pixels: of an image that is decoded.
    """

    def __init__(self, index: SearchIndex, uploads: Uploads, most_pixels: int) -> None:
        self._index = index
        self._uploads = uploads
        self._most_pixels = most_pixels
        self._lock = threading.Lock()
        self._cached: OrderedDict[tuple[str, int, str], Picture] = OrderedDict()
        self._cached_bytes = 0
        self._folders: dict[str, str] = {}

    def get(self, image: int, size: int) -> Picture:
        """The picture of image ``image``, its longer side at most ``size`` pixels.

        Raises:
            RefusedError: if there is no such image, or its file is gone, outside of the collection or no image.
        """
        snapshot = self._index.snapshot()
        place = snapshot.place_of(image)
        if place is None:
            raise RefusedError(404, f"the index has no image {image}")
        segment = snapshot.segments[place[0]]
        path = str(segment.table["path"][place[1]].as_py())
        key = path, size, self._state(path, segment)
        with self._lock:
            if key in self._cached:
                self._cached.move_to_end(key)
                return self._cached[key]
        try:
            content = self._read(path)
            format_of(content, self._most_pixels)
            picture = _small(content, size)
        except RefusedError:
            raise RefusedError(404, f"image {image} is of a kind or a size that is not shown") from None
        except (OSError, ValueError, DatasetError):  # whose words name files of the server
            raise RefusedError(404, f"the file of image {image} cannot be read") from None
        self._keep(key, picture)
        return picture

    def _state(self, path: str, segment: Segment) -> str:
        """What changes when the file at ``path`` does; it is one that may be served."""
        if is_remote(path) or ShardPart.parse(path) is not None:
            return segment.name
        real = os.path.realpath(path)
        folder = str(self._uploads.folder) if self._uploads.holds(path) else self._folder_of(segment)
        try:
            if os.path.commonpath([real, os.path.realpath(folder)]) != os.path.realpath(folder):
                raise RefusedError(404, "the image's file lies outside of the collection")
            state = os.stat(real)  # noqa: PTH116
        except (OSError, ValueError):
            raise RefusedError(404, "the image's file is gone") from None
        return f"{state.st_mtime_ns}-{state.st_size}"

    def _folder_of(self, segment: Segment) -> str:
        """The nearest folder that all files of ``segment`` lie in, but those that were added over HTTP."""
        if segment.name not in self._folders:
            paths = segment.table["path"]
            own = pc.invert(pc.or_(pc.match_substring(paths, "://"), pc.starts_with(paths, f"{self._uploads.folder}/")))
            ends = pc.min_max(paths.filter(own)).as_py()  # between them, in order, all others
            self._folders[segment.name] = os.path.commonpath([os.path.dirname(ends[end]) for end in ("min", "max")])  # noqa: PTH120
        return self._folders[segment.name]

    def _read(self, path: str) -> bytes:
        part = ShardPart.parse(path)
        if part is not None:
            return ShardReader("").read(part)
        if not is_remote(path):
            return read_regular_file(os.path.realpath(path))
        try:
            with fsspec.open(path, "rb") as file:
                return bytes(file.read())
        except Exception as fault:  # fsspec's many back-ends have no common error
            raise OSError(str(fault)) from fault

    def _keep(self, key: tuple[str, int, str], picture: Picture) -> None:
        with self._lock:
            if key not in self._cached:
                self._cached[key] = picture
                self._cached_bytes += len(picture.content)
            while self._cached_bytes > MOST_CACHED_BYTES:
                self._cached_bytes -= len(self._cached.popitem(last=False)[1].content)


def shown_name(path: str, uploads: Uploads) -> str:
    """What clients see of ``path``: the file's name and that of its folder."""
    name = Path(path).name
    return name if uploads.holds(path) else "/".join(Path(path.removeprefix("/")).parts[-2:]) or name


def _small(content: bytes, size: int) -> Picture:
    upright = decode_image(content).upright()
    if upright.mode not in ("RGB", "L"):
        upright = upright.convert("RGBA")
        white = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(white, upright).convert("RGB")
    upright.thumbnail((size, size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    upright.save(file, "JPEG", quality=QUALITY)
    return Picture(file.getvalue(), hashlib.sha256(file.getvalue()).hexdigest()[:16])
