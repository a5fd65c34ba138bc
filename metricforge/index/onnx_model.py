"""A bundle's ONNX graph as an embedding model, by ONNX Runtime alone: PyTorch need not be installed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from PIL import Image, ImageOps

from metricforge.arrays import Bytes, Floats32
from metricforge.bundle_files import read_description, verified_file
from metricforge.datasets.decoding.decode_image import decode_image, reason_of
from metricforge.datasets.decoding.eight_bit_rgb import OPEN_SCALE, eight_bit_rgb
from metricforge.datasets.decoding.limits import resizing_excess, shorter_side
from metricforge.datasets.decoding.regular_file import read_regular_file
from metricforge.errors import CheckpointError, UnreadableImageError
from metricforge.index.array_similarity import WITHOUT_WEIGHTS, ArraySimilarity, LearnedByGraph

EMBEDDING, SIMILARITY = "model.onnx", "similarity.onnx"


def has_onnx_model(bundle: Path) -> bool:
    """Whether ``OnnxModel`` can do what ``bundle`` does: its graph has the preprocessing inside.

    Raises:
        CheckpointError: for a bundle whose description is damaged.
    """
    described = read_description(bundle)
    graphs = described.get("graphs", {})
    compares = SIMILARITY in graphs or described["architecture"]["similarity"]["type"] in WITHOUT_WEIGHTS
    # where evaluation decodes at a fraction of the size, the graph, which was compared with full decoding, differs
    able = compares and described.get("decode") == "full" and find_spec("onnxruntime") is not None
    return able and bool(graphs.get(EMBEDDING, {}).get("preprocessing_inside"))


class OnnxModel:
    """Images to the embeddings of ``EmbeddingModel``, up to what ``metricforge export`` measured when it compared them.

    Safe to call from several threads at once. It does not classify.

    Args:
        bundle: the folder; every file that is used is verified first.

    Raises:
        CheckpointError: if a file is missing or was changed, or there is no such graph.
    """

    classifies = False

    def __init__(self, bundle: Path) -> None:
        described = read_description(bundle)
        graphs: Mapping[str, Any] = described.get("graphs", {})
        if not graphs.get(EMBEDDING, {}).get("preprocessing_inside"):
            raise CheckpointError(
                f"{bundle} has no {EMBEDDING} with the preprocessing inside; make one with metricforge export MODEL "
                "--format onnx --with-preprocessing --out BUNDLE"
            )
        for entry in graphs.values():
            verified_file(bundle, entry)
        self.hash = str(described["metricforge_model"])
        self.dim = int(described["dim"])
        self.source = str(bundle)
        self._side = shorter_side(described["preprocessing"])
        self._embedding = _session(bundle / EMBEDDING)
        self.similarity = _similarity(described, bundle)

    def embed(self, images: Any) -> Floats32:
        """Embed ``images``, one or an iterable of them: (N, D) float32 in their order.

        Args:
            images: paths, URLs (through fsspec), encoded files as bytes, Pillow images, or uint8 arrays (H, W),
                (H, W, 3) or (H, W, 4).

        Raises:
            UnreadableImageError: for an image that cannot be decoded; the message names it.
            TypeError: for anything that is not an image.
        """
        single = isinstance(images, (str, os.PathLike, bytes, Image.Image)) or getattr(images, "ndim", 4) <= 3
        given = enumerate([images] if single else _many(images))
        return self.embed_pixels(self._checked(image, f"images[{number}]") for number, image in given)

    def prepare(self, image: Any) -> Bytes:
        """Return ``image``, as ``embed`` takes it, as ``embed_pixels`` does: uint8 (H, W, 3), upright."""
        return self._checked(image, "the image")

    def resizing_excess(self, width: int, height: int, most_pixels: int | None = None) -> str:
        """Why an image is too long and narrow to be resized; empty if it is not."""
        return "" if self._side is None else resizing_excess(self._side, width, height, most_pixels, weights=True)

    def _checked(self, image: Any, name: str) -> Bytes:
        pixels = rgb_pixels(image, name)
        fault = self.resizing_excess(pixels.shape[1], pixels.shape[0])
        if fault:
            name = os.fspath(image) if isinstance(image, (str, os.PathLike)) else name
            raise UnreadableImageError(f"{name} cannot be resized: {fault}; crop it")
        return pixels

    def embed_pixels(self, images: Iterable[Bytes]) -> Floats32:
        """Embed ``images``, each (H, W, 3) uint8 and one at a time, for their sizes differ: (N, D)."""
        rows = [self._embedding.run(None, {"images": image[None]})[0][0] for image in images]
        return np.stack(rows).astype(np.float32) if rows else np.empty((0, self.dim), dtype=np.float32)

    def __repr__(self) -> str:
        return f"OnnxModel({self.dim} dimensions, {self.hash}, from {self.source})"


def rgb_pixels(image: Any, name: str) -> Bytes:
    """The upright pixels (H, W, 3) of ``image``, of any kind that ``OnnxModel.embed`` takes.

    Raises:
        UnreadableImageError: if it cannot be decoded.
        TypeError: for anything else.
    """
    if isinstance(image, (str, os.PathLike)):
        name = os.fspath(image)
    try:
        opened = _opened(image, name)
        mode = opened.mode
        pixels = np.array(eight_bit_rgb(opened))
    except TypeError:
        raise
    except Exception as fault:  # decoders and file systems raise errors of any type
        raise UnreadableImageError(f"{name} cannot be read as an image ({reason_of(fault)}); replace it") from fault
    if mode in OPEN_SCALE:
        raise UnreadableImageError(
            f"{name} has 32 bits a channel (Pillow's mode {mode}); convert it to 8 bits with a scale of your choice"
        )
    return pixels


def _opened(image: Any, name: str) -> Image.Image:
    if isinstance(image, Image.Image):
        return ImageOps.exif_transpose(image)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
            raise TypeError(
                f"{name}: an array must be uint8 (H, W), (H, W, 3) or (H, W, 4), got {image.dtype} {image.shape}"
            )
        return Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode_image(bytes(image)).upright()
    if not isinstance(image, (str, os.PathLike)):
        raise TypeError(
            f"{name}: {type(image).__name__} is not an image; give a path, a URL, bytes, a Pillow image or a "
            "uint8 array"
        )
    if "://" in name:
        with fsspec.open(name, "rb") as file:
            return decode_image(bytes(file.read())).upright()
    return decode_image(read_regular_file(name)).upright()


def _many(images: Any) -> Iterable[Any]:
    if not isinstance(images, Iterable):
        raise TypeError(f"images must be an image or an iterable of images, got {type(images).__name__}")
    return images


def _similarity(described: Mapping[str, Any], bundle: Path) -> ArraySimilarity:
    if SIMILARITY in described["graphs"]:
        session = _session(bundle / SIMILARITY)
        return LearnedByGraph(lambda x, y: session.run(None, {"x": x, "y": y})[0])
    return WITHOUT_WEIGHTS[described["architecture"]["similarity"]["type"]]()


def _session(file: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
