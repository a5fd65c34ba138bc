"""Renders the characters of the fonts that come with Matplotlib, and caches them."""

from __future__ import annotations

import hashlib
import unicodedata
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import PIL
import platformdirs
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont, features

from metricforge.arrays import Bytes, Indices
from metricforge.atomic_write import atomic_write
from metricforge.damaged_arrays import DAMAGED_ARRAY
from metricforge.errors import DatasetError

SIZE = 40
_FONT_SIZE = 26
_FONTS = 12
# Two characters are one class if this many fonts draw them alike. One or two do so by accident: a serif italic draws
# Cyrillic pe and te like Latin n and m, which no upright font does.
_FONTS_ALIKE = 3
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class GlyphPictures:
    """Pictures (N, 40, 40) uint8, white on black, class (N,) and font (N,) of each, and what both are called."""

    pictures: Bytes
    classes: Indices
    fonts: Indices
    class_names: tuple[str, ...]
    font_names: tuple[str, ...]


def load_glyph_pictures(cache_dir: Path | None = None) -> GlyphPictures:
    """Read the glyphs from ``cache_dir`` (default: the user's cache folder), or render and store them there.

    A cache that is damaged or comes from other fonts or versions is not used.
    """
    folder = Path(platformdirs.user_cache_dir("metricforge")) if cache_dir is None else cache_dir
    fonts = font_files()
    file = folder / f"glyphs-{_cache_key(fonts)}.npz"
    cached = _read(file)
    if cached is not None:
        return cached
    glyphs = merge_glyphs(*render_glyphs(fonts), tuple(font.stem for font in fonts))
    _write(file, glyphs)
    return glyphs


def font_files() -> list[Path]:
    """The twelve DejaVu text fonts that Matplotlib installs, sorted by name."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = sorted(font for font in folder.glob("DejaVu*.ttf") if "Display" not in font.name)
    if len(fonts) != _FONTS:
        raise DatasetError(
            f"found {len(fonts)} of the {_FONTS} DejaVu fonts (Sans, Sans Mono, Serif) in {folder}; some Linux "
            "distributions package Matplotlib without them: pip install --force-reinstall matplotlib"
        )
    return fonts


def render_glyphs(fonts: list[Path]) -> tuple[list[str], Bytes]:
    """Every character that all ``fonts`` have, and its pictures (characters, fonts, 40, 40) uint8.

    Left out are controls, spaces and marks (Unicode categories C, Z, M), category So (arrows, boxes and shapes, which
    the fonts mostly draw with one and the same picture), and characters that a font leaves blank or draws wider or
    higher than 40 pixels. The picture's ink is centred.
    """
    shared = set.intersection(*(set(FT2Font(str(font)).get_charmap()) for font in fonts))
    characters = [
        chr(code)
        for code in sorted(shared)
        if (category := unicodedata.category(chr(code)))[0] not in "CZM" and category != "So"
    ]
    pictures = np.zeros((len(characters), len(fonts), SIZE, SIZE), np.uint8)
    usable = np.ones(len(characters), bool)
    for column, path in enumerate(fonts):
        font = ImageFont.truetype(str(path), _FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
        for row, character in enumerate(characters):
            # The font's own box counts the advance too, so the ink is measured where it was drawn.
            canvas = Image.new("L", (4 * SIZE, 4 * SIZE))
            ImageDraw.Draw(canvas).text((2 * SIZE, 2 * SIZE), character, fill=255, font=font, anchor="ls")
            left, top, right, bottom = canvas.getbbox() or (0, 0, 0, 0)
            width, height = right - left, bottom - top
            if not (0 < width <= SIZE and 0 < height <= SIZE):
                usable[row] = False
                continue
            x, y = (SIZE - width) // 2, (SIZE - height) // 2
            ink = np.asarray(canvas.crop((left, top, right, bottom)))  # (height, width)
            pictures[row, column, y : y + height, x : x + width] = ink
    return [c for c, kept in zip(characters, usable, strict=True) if kept], pictures[usable]


def merge_glyphs(characters: list[str], pictures: Bytes, font_names: tuple[str, ...]) -> GlyphPictures:
    """Group characters into classes, so that no image occurs twice.

    Characters that at least three fonts draw with identical images are one class (and so is a chain of them). Then each
    class keeps each of its images once; images that are still in two classes are left out, and so are classes with
    fewer than two images left.
    """
    keys = [[picture.tobytes() for picture in row] for row in pictures]  # (characters, fonts)
    group = _groups(keys)
    owners: dict[bytes, set[int]] = defaultdict(set)
    for row, row_keys in enumerate(keys):
        for key in row_keys:
            owners[key].add(group[row])
    members: dict[int, list[int]] = defaultdict(list)
    for row in range(len(characters)):
        members[group[row]].append(row)

    names: list[str] = []
    chosen: list[tuple[int, int]] = []
    classes: list[int] = []
    for rows in members.values():  # in the order of their first characters
        distinct: dict[bytes, tuple[int, int]] = {}
        for row in rows:
            for font, key in enumerate(keys[row]):
                if len(owners[key]) == 1:
                    distinct.setdefault(key, (row, font))
        if len(distinct) < 2:
            continue
        classes += [len(names)] * len(distinct)
        chosen += distinct.values()
        names.append(" ".join(characters[row] for row in rows))
    rows_of, fonts_of = np.array(chosen, dtype=np.int64).T
    return GlyphPictures(pictures[rows_of, fonts_of], np.array(classes), fonts_of, tuple(names), font_names)


def _groups(keys: list[list[bytes]]) -> list[int]:
    """Return for each character the first one of its class."""
    rows_with: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    for row, row_keys in enumerate(keys):
        for font, key in enumerate(row_keys):
            rows_with[font, key].append(row)
    alike: dict[tuple[int, int], int] = defaultdict(int)
    for rows in rows_with.values():
        for i, second in enumerate(rows):
            for first in rows[:i]:
                alike[first, second] += 1
    parent = list(range(len(keys)))

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    for (first, second), count in alike.items():
        if count >= _FONTS_ALIKE:
            low, high = sorted((root(first), root(second)))
            parent[high] = low
    return [root(row) for row in range(len(keys))]


def _cache_key(fonts: list[Path]) -> str:
    """Return a key that changes with everything that can change a pixel, a character or a class."""
    versions = [
        matplotlib.__version__,
        PIL.__version__,
        str(features.version("freetype2")),
        unicodedata.unidata_version,
    ]
    digest = hashlib.sha256(repr((versions, _FORMAT, SIZE, _FONT_SIZE, _FONTS_ALIKE)).encode())
    for font in fonts:
        digest.update(hashlib.sha256(font.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _read(file: Path) -> GlyphPictures | None:
    """The glyphs in ``file``, or None if it is absent or damaged."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            glyphs = GlyphPictures(
                arrays["pictures"],
                arrays["classes"],
                arrays["fonts"],
                tuple(arrays["class_names"].tolist()),
                tuple(arrays["font_names"].tolist()),
            )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (*DAMAGED_ARRAY, KeyError) as fault:
        warnings.warn(
            f"{file} is damaged ({type(fault).__name__}: {fault}); the glyphs are rendered again", stacklevel=3
        )
        return None
    return glyphs


def _write(file: Path, glyphs: GlyphPictures) -> None:
    """Write ``glyphs`` into ``file`` atomically; warn if that fails."""
    try:
        with atomic_write(file) as stream:
            np.savez_compressed(
                stream,
                pictures=glyphs.pictures,
                classes=glyphs.classes,
                fonts=glyphs.fonts,
                class_names=np.array(glyphs.class_names),
                font_names=np.array(glyphs.font_names),
            )
    except OSError as fault:
        warnings.warn(
            f"the rendered glyphs cannot be stored in {file.parent} ({fault}), so they are rendered at every start; "
            "set cache_dir to a writable folder",
            stacklevel=3,
        )
