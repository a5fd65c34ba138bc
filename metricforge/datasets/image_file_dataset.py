"""A data set whose images are files under one folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from metricforge.arrays import Array, Bytes, Flags, Integers32
from metricforge.datasets.decoding.decode_image import decode_image
from metricforge.datasets.decoding.image_cache import ImageCache
from metricforge.datasets.decoding.jpeg_file import JpegFile, turned_upright
from metricforge.datasets.decoding.reduced_decoding import Region, decode_for
from metricforge.datasets.decoding.regular_file import read_regular_file
from metricforge.datasets.image_dataset import ImageDataset
from metricforge.datasets.string_column import StringColumn
from metricforge.errors import DatasetError


class ImageFileDataset(ImageDataset):
    """Images stored as files under ``root``; a subclass says which, and the class of each.

    Images are turned upright by their EXIF orientation. ``cache_in`` spares later epochs the decoding. With
    ``decodes_later`` (initially False) JPEGs are returned undecoded: an item's ``image`` is the content of the file
    (bytes,) and its ``orientation`` that of EXIF; ``transformed`` turns both into an image once it is decoded. Anything
    but a plain JPEG is returned as pixels (3, H, W) with ``orientation`` 0.

    Args:
        root: the folder that ``files`` are relative to.
        files: the path of each image (N,), relative to ``root``.
        boxes: the box to crop each image to (N, 4): left, top, right and bottom in pixels of the upright image, right
            and bottom excluded. None: whole images.
        name: see ImageDataset, as for the arguments that follow.
    """

    cache: ImageCache | None = None
    fingerprints_bytes = False  # reading every file would take minutes on a large collection

    def __init__(
        self,
        *,
        root: Path,
        files: Sequence[str],
        name: str,
        split: str,
        labels: Sequence[int] | Array,
        class_names: Sequence[str],
        boxes: Integers32 | None = None,
        roles: Bytes | None = None,
        groups: Array | None = None,
        group_names: Sequence[str] = (),
        cameras: Array | None = None,
        camera_names: Sequence[str] = (),
        notes: Sequence[str] = (),
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
    ) -> None:
        super().__init__(
            name=name,
            split=split,
            labels=labels,
            class_names=class_names,
            roles=roles,
            groups=groups,
            group_names=group_names,
            cameras=cameras,
            camera_names=camera_names,
            notes=notes,
            transform=transform,
        )
        assert len(files) == len(self.labels)
        assert boxes is None or boxes.shape == (len(files), 4)
        self.root = root
        self.files = files if isinstance(files, StringColumn) else StringColumn(files)
        self.boxes = boxes

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not self.decodes_later:
            return super().__getitem__(index)
        image, orientation = self._undecoded(index)
        return {"image": image, "orientation": orientation, "label": int(self.labels[index]), "id": int(index)}

    def transformed(self, index: int, pixels: Tensor, orientation: int) -> Tensor:
        """Return the image that ``self[index]`` has if decoded at once, from its ``pixels`` (3, H, W)."""
        if orientation:
            pixels = turned_upright(pixels, orientation)
            rows, columns = self._area(index, pixels.shape[2], pixels.shape[1]).place
            pixels = pixels[:, rows, columns]
        return self._apply_transform(pixels, index, 0)

    def _undecoded(self, index: int) -> tuple[Tensor, int]:
        content = self._content(index)
        jpeg = None if content is None else JpegFile.open(content)
        if content is None or jpeg is None:
            return self._opened_by_pillow(index, content), 0
        return torch.frombuffer(bytearray(content), dtype=torch.uint8), jpeg.orientation

    def load(self, index: int) -> Image.Image:
        return self._opened(index, self._read(index))

    def _opened(self, index: int, content: bytes) -> Image.Image:
        upright = decode_image(content).upright()
        return upright if self.boxes is None else upright.crop(self._box(index, *upright.size))

    def _read(self, index: int) -> bytes:
        """Return the content of the file that holds image ``index``."""
        # joining two Paths would take a twentieth of the time of an image
        return read_regular_file(os.path.join(self.root, self.files[index]))  # noqa: PTH118

    def _state(self, index: int) -> str | None:
        """Return a key for the cache that changes when the file does; None if the file is absent."""
        return self._state_of(self.root / self.files[index])

    @staticmethod
    def _state_of(file: Path) -> str | None:
        try:
            state = file.stat()
        except OSError:
            return None
        return f"{file}\0{state.st_size}\0{state.st_mtime_ns}"

    def cache_in(self, folder: str | Path) -> None:
        """Keep images in ``folder`` as they are after the first transforms from now on; ImageCache has the rules.

        Set ``reduced_decoding`` first.

        Raises:
            DatasetError: if the first transform draws at random, or the disk is full.
        """
        reader = f"{type(self).__module__}.{type(self).__qualname__}" if self._opens_files_itself() else ""
        place = Path(folder).expanduser().absolute()
        self.cache = ImageCache(place, self.transform, self.reduced_decoding, reader)
        self.cache.prepare(len(self))

    def _begin(self, index: int) -> tuple[Tensor, int]:
        if self.cache is None:
            return self._decode(index)
        state = self._state(index)
        if state is not None and self.boxes is not None:
            state += f"\0{self.boxes[index].tolist()}"
        kept = None if state is None else self.cache.get(state)
        if kept is None:
            kept, done = self._decode(index)
            for step in self.cache.steps[done:]:
                kept = step(kept)
            if state is not None:
                self.cache.put(state, kept)
        return kept, len(self.cache.steps)

    def _decode(self, index: int) -> tuple[Tensor, int]:
        content = self._content(index)
        by_pillow = partial(self._opened_by_pillow, index, content)
        jpeg = None if content is None else JpegFile.open(content)
        if jpeg is None:
            return by_pillow(), 0
        area = self._area(index, jpeg.width, jpeg.height)
        first = self.transform[0] if self.transform else None
        self._refuse_to_enlarge(index, first, area.width, area.height)
        return decode_for(jpeg, area, first, self.reduced_decoding, by_pillow)

    def _content(self, index: int) -> bytes | None:
        """Return the content of the file, or None if only ``load`` may open it."""
        if not self._opens_files_itself():
            with suppress(OSError):  # load meets the same fault again and reports it with the image's location
                return self._read(index)
        return None

    def _opened_by_pillow(self, index: int, content: bytes | None) -> Tensor:
        # a remote file is not fetched twice
        return self._pixels(index, self.load if content is None else partial(self._opened, content=content))

    def _opens_files_itself(self) -> bool:
        # A subclass with its own load opens its files in its own way.
        return type(self).load is not ImageFileDataset.load

    def _area(self, index: int, width: int, height: int) -> Region:
        """The part of the upright picture that image ``index`` shows."""
        if self.boxes is None:
            return Region(0, 0, height, width)
        left, top, right, bottom = self._box(index, width, height)
        return Region(top, left, bottom - top, right - left)

    def _box(self, index: int, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the box (left, top, right, bottom) of image ``index``; DatasetError if it is not inside the image."""
        assert self.boxes is not None
        left, top, right, bottom = self.boxes[index].tolist()
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise DatasetError(
                f"{self.location(index)} is {width} x {height} pixels, and its box (left, top, right, "
                f"bottom) ({left}, {top}, {right}, {bottom}) is empty or exceeds the image; correct the box, or use "
                "whole images, by crop=False where the data set takes it"
            )
        return left, top, right, bottom

    def _keep_images(self, rows: Flags) -> None:
        self.files = self.files.filter(rows)
        self.boxes = None if self.boxes is None else self.boxes[rows]

    def location(self, index: int) -> str:
        return str(self.root / self.files[index])

    def entry(self, index: int) -> str:
        told = self._told_of_file(self.files[index])
        return f"{super().entry(index)} ({told if self.fingerprints_bytes or told == 'absent' else f'{told} bytes'})"

    def _name_of_image(self, index: int) -> str:
        return self.files[index]

    def _digest_images(self, digest: hashlib._Hash) -> None:
        for file in self.files:
            digest.update(f"{file}\0{self._told_of_file(file)}\n".encode())
        if self.boxes is not None:
            digest.update(self.boxes.astype("<i4").tobytes())

    def _told_of_file(self, file: str) -> str:
        """The size of a file or, if ``fingerprints_bytes``, the hash of its bytes."""
        try:
            if self.fingerprints_bytes:
                return hashlib.sha256(read_regular_file(self.root / file)).hexdigest()
            return str((self.root / file).stat().st_size)
        except OSError:
            return "absent"  # which is reported where it is to be read
