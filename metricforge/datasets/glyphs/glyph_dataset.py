"""Letterforms of real fonts, with nothing to download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from metricforge.arrays import Flags
from metricforge.datasets.glyphs.glyph_pictures import load_glyph_pictures
from metricforge.datasets.image_dataset import ImageDataset
from metricforge.registry import DATASETS


@DATASETS.register_module()
class GlyphDataset(ImageDataset):
    """Glyphs: the characters that Matplotlib's DejaVu fonts share; a character is a class, with a 40x40 image per font.

    1,900 letters, digits, punctuation and mathematical signs are rendered in twelve fonts. Characters that look the
    same are one class (Latin A, Greek Alpha, Cyrillic A): those that at least three fonts draw with identical pictures,
    which leaves 1,687 classes. No image occurs twice, neither within a class nor across classes, so that none matches
    its own copy; most classes have 12 images, some fewer, merged ones up to 45. The splits share no class: each has
    half of the classes, chosen by a hash of their names. (Counted with Matplotlib 3.11; other versions may differ.)

    Args:
        split: "train" or "test".
        transform: see ImageDataset.
        cache_dir: folder for the rendered images; None: the user's cache folder. Rendering takes seconds.

    Raises:
        ValueError: for another split.
        DatasetError: if Matplotlib was installed without its fonts.
    """

    transform_of_any_file = (dict(type="Resize", size=(40, 40)),)

    def __init__(
        self,
        split: Literal["train", "test"] = "train",
        transform: Sequence[Mapping[str, Any] | Callable[[Any], Any]] | None = None,
        cache_dir: str | Path | None = None,
    ) -> None:
        if split not in ("train", "test"):
            raise ValueError(f'split must be "train" or "test", got {split!r}')
        glyphs = load_glyph_pictures(None if cache_dir is None else Path(cache_dir).expanduser())
        in_train = _train_half(glyphs.class_names)  # (C,)
        chosen = np.flatnonzero(in_train if split == "train" else ~in_train)  # classes of this split
        kept = np.isin(glyphs.classes, chosen)  # (N,)
        super().__init__(
            name="Glyphs",
            split=split,
            labels=np.searchsorted(chosen, glyphs.classes[kept]),
            class_names=[glyphs.class_names[c] for c in chosen],
            transform=transform,
        )
        self.pictures = glyphs.pictures[kept]  # (N, 40, 40)
        self._fonts = [glyphs.font_names[f] for f in glyphs.fonts[kept]]

    def load(self, index: int) -> Image.Image:
        return Image.fromarray(self.pictures[index])

    def _keep_images(self, rows: Flags) -> None:
        self.pictures = self.pictures[rows]
        self._fonts = [font for font, kept in zip(self._fonts, rows, strict=True) if kept]

    def location(self, index: int) -> str:
        return f"glyph {self.class_names[self.labels[index]]} in {self._fonts[index]}"

    def _digest_images(self, digest: hashlib._Hash) -> None:
        digest.update(self.pictures.tobytes())


def _train_half(class_names: Sequence[str]) -> Flags:
    """Which classes (C,) are for training: the half whose hashed names come first.

    A hash rather than a shuffle, so that a class added by another version of the fonts moves hardly any other. Upper
    and lower case alternate in Unicode: taking every second code point would separate them.
    """
    order = sorted(range(len(class_names)), key=lambda c: hashlib.sha256(class_names[c].encode()).digest())
    half = np.zeros(len(class_names), bool)
    half[order[: len(order) // 2]] = True
    return half
