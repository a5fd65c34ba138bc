"""Open every image, in parallel, and record little of each."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metricforge.arrays import Bytes, Integers32
from metricforge.datasets.decoding.decode_image import DecodedImage, decode_image
from metricforge.datasets.decoding.eight_bit_rgb import eight_bit_rgb
from metricforge.doctor.collection import Collection
from metricforge.errors import DatasetError

THUMBNAIL = 16
AT_ONCE = 20_000
_FORMAT_OF = Image.registered_extensions()
_SAME_FORMAT = {"MPO": "JPEG"}  # several JPEGs in one file, as some cameras write them


@dataclass(frozen=True)
class Examination:
    """What was recorded of each of N images.

    Args:
        errors: index -> why the image cannot be read.
        sides: width and height (N, 2) as stored; 0 for those that cannot be read.
        digests: of the pixels as training sees them (N,), 16 bytes each.
        hashes: perceptual hashes (N, 8) uint8, 64 bits that hardly change when a picture is scaled or compressed.
        thumbnails: grey (N, 256) uint8.
        oddities: index -> what is odd about its file, such as "CMYK".
        extensions: index -> the actual format, where the extension says another.
    """

    errors: dict[int, str]
    sides: Integers32
    digests: NDArray[np.void]
    hashes: Bytes
    thumbnails: Bytes
    oddities: dict[int, tuple[str, ...]]
    extensions: dict[int, str]


class _Seen(NamedTuple):
    error: str = ""
    sides: tuple[int, int] = (0, 0)
    digest: bytes = bytes(16)
    hash: bytes = bytes(8)
    thumbnail: bytes = bytes(THUMBNAIL**2)
    oddities: tuple[str, ...] = ()
    format: str = ""


def examine(collection: Collection, workers: int, on_images: Callable[[int], object] = lambda n: None) -> Examination:
    """Open every image of ``collection`` in ``workers`` threads; ``on_images`` gets counts, for a progress bar."""
    count = len(collection)
    digests = np.zeros(count, dtype="V16")
    found = Examination(
        errors={},
        sides=np.zeros((count, 2), dtype=np.int32),
        digests=digests,
        hashes=np.zeros((count, 8), dtype=np.uint8),
        thumbnails=np.zeros((count, THUMBNAIL**2), dtype=np.uint8),
        oddities={},
        extensions={},
    )
    # Decoding and hashing release the interpreter's lock, and threads, unlike processes, need not import torch again.
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")
        for start in range(0, count, AT_ONCE):
            these = range(start, min(start + AT_ONCE, count))
            for index, seen in zip(these, pool.map(partial(_look_at, collection), these), strict=True):
                _note(found, index, seen)
                on_images(1)
    return found


def _note(found: Examination, index: int, seen: _Seen) -> None:
    if seen.error:
        found.errors[index] = seen.error
    if seen.oddities:
        found.oddities[index] = seen.oddities
    if seen.format:
        found.extensions[index] = seen.format
    found.sides[index] = seen.sides
    found.digests[index] = np.void(seen.digest)
    found.hashes[index] = np.frombuffer(seen.hash, dtype=np.uint8)
    found.thumbnails[index] = np.frombuffer(seen.thumbnail, dtype=np.uint8)


def _look_at(collection: Collection, index: int) -> _Seen:
    try:
        decoded = decode_image(collection.content(index))
        image = decoded.image
        if image.mode in ("I", "F"):
            return _Seen(error=f"32 bits a channel (Pillow's mode {image.mode}), with no scale to 8 bits")
        return _seen(decoded, Path(collection.files[index]).suffix.lower())
    except DatasetError as fault:
        return _Seen(error=str(fault))
    except Exception as fault:  # decoders raise errors of any type
        reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
        return _Seen(error=f"{type(fault).__name__}: {reason or 'no reason given'}")


def _seen(decoded: DecodedImage, suffix: str) -> _Seen:
    image, upright = decoded.image, eight_bit_rgb(decoded.upright())
    grey = upright.convert("L")
    size = f"{upright.width}x{upright.height}".encode()
    expected = _FORMAT_OF.get(suffix)
    actual = _SAME_FORMAT.get(image.format or "", image.format or "")
    return _Seen(
        sides=image.size,
        digest=hashlib.blake2b(size + upright.tobytes(), digest_size=16).digest(),
        hash=np.packbits(imagehash.phash(grey).hash).tobytes(),
        thumbnail=grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes(),
        oddities=tuple(_oddities(decoded)),
        format=actual if expected is not None and actual != expected else "",
    )


def _oddities(decoded: DecodedImage) -> list[str]:
    image = decoded.image
    odd = []
    if image.mode == "CMYK":
        odd.append("CMYK")
    if image.mode.startswith("I;16"):
        odd.append("16 bits a channel")
    if image.mode == "P":
        odd.append("palette")
    if image.has_transparency_data:
        odd.append("transparent")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        odd.append("several frames")
    if decoded.orientation != 1:
        odd.append("turned by EXIF")
    return odd
