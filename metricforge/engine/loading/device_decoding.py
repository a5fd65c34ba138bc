"""Decodes and augments JPEGs on the model's device instead of in the workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import io

from metricforge.datasets import ImageFileDataset
from metricforge.engine.loading.seeding import seed_host
from metricforge.errors import DatasetError, UnreadableImageError


class DeviceDecodingLoader(DataLoader[dict[str, Any]]):
    """Batches of ``images``, which ``decodes_later``: workers read files, ``device`` decodes and transforms them.

    Batches are the same as in any other loader, and already on ``device``. What the transforms draw follows from each
    sample's ``seed``, if it has one, as in a worker.

    Args:
        dataset: ``images``, or a wrapper around them.
        images: the data set whose JPEGs are decoded.
        device: where to decode. CUDA devices use nvJPEG, whose pixels may differ from libjpeg's in the last bits.
        **loading: arguments of ``DataLoader``.

    Raises:
        DatasetError: if this version of torchvision has no decoder (0.29 announces its removal).
    """

    def __init__(self, dataset: Any, images: ImageFileDataset, device: torch.device, **loading: Any) -> None:
        if not hasattr(io, "decode_jpeg"):
            raise DatasetError(
                'this torchvision decodes no JPEGs, which decode="device" needs; set decode="fast", which has the '
                "workers decode them, or install torchvision 0.29"
            )
        super().__init__(dataset, collate_fn=_columns, **loading)
        self._images = images
        self._device = device

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        for columns in super().__iter__():
            yield self._decoded(columns)

    def _decoded(self, columns: Mapping[str, list[Any]]) -> dict[str, Tensor]:
        pixels = self._pixels(columns)
        finished = []
        for place, (index, orientation) in enumerate(zip(columns["id"], columns["orientation"], strict=True)):
            if "seed" in columns:
                seed_host(columns["seed"][place])
                if self._device.type == "cuda":
                    torch.cuda.manual_seed(columns["seed"][place])
            finished.append(self._images.transformed(index, pixels[place], orientation))
        _refuse_unlike(finished, columns["id"], self._images)
        return {
            "image": torch.stack(finished),
            "label": torch.tensor(columns["label"]),
            "id": torch.tensor(columns["id"]),
        }

    def _pixels(self, columns: Mapping[str, list[Any]]) -> list[Tensor]:
        """Decode each image (3, H, W) on the device."""
        pixels: list[Tensor] = list(columns["image"])
        encoded = [place for place, orientation in enumerate(columns["orientation"]) if orientation]
        if encoded:
            contents = [pixels[place] for place in encoded]
            try:
                decoded = io.decode_jpeg(contents, mode=io.ImageReadMode.RGB, device=self._device)
            except RuntimeError as fault:
                raise self._reason(contents, [columns["id"][place] for place in encoded], fault) from fault
            for place, image in zip(encoded, decoded, strict=True):
                pixels[place] = image
        return [image.to(self._device, non_blocking=True) for image in pixels]

    def _reason(self, contents: Sequence[Tensor], indices: Sequence[int], fault: RuntimeError) -> DatasetError:
        """Find out which image cannot be decoded, or whether the device cannot."""
        for content, index in zip(contents, indices, strict=True):
            try:
                io.decode_jpeg(content, mode=io.ImageReadMode.RGB)
            except RuntimeError as broken:
                return UnreadableImageError(
                    f"{self._images.location(index)} cannot be read as an image ({_last_words(broken)}); replace or "
                    'remove the file, or train without it: decode="fast" and unreadable="skip"'
                )
        return DatasetError(
            f'torchvision cannot decode these JPEGs on {self._device} ({_last_words(fault)}); set decode="fast", which '
            "has the workers decode them"
        )


def _columns(items: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {key: [item[key] for item in items] for key in items[0]}


def _refuse_unlike(images: Sequence[Tensor], indices: Sequence[int], dataset: ImageFileDataset) -> None:
    for image, index in zip(images, indices, strict=True):
        if image.shape != images[0].shape:
            raise DatasetError(
                f"{dataset.location(index)} is {tuple(image.shape)} after the transform of {dataset.name} "
                f"{dataset.split}, and {dataset.location(indices[0])} {tuple(images[0].shape)}; a batch needs images "
                "of one size: end with a crop, or with a Resize to height and width"
            )


def _last_words(fault: RuntimeError) -> str:
    """Return torchvision's message without the source location that it begins with."""
    return str(fault).splitlines()[0].rpartition(", ")[2]
