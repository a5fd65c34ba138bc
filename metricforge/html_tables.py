"""Tables for notebooks, in which every text is text."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

from PIL import Image, ImageOps


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", images: bool = False) -> str:
    """Make a table for ``_repr_html_``; all but the first column are aligned to the right.

    Args:
        header: names of the columns.
        rows: texts, as many as ``header``.
        caption: a line above it.
        images: whether the first cell of each row is the ``data:`` address of a picture, or empty.

    Examples:
        >>> "&lt;b&gt;" in html_table(["score"], [["<b>"]])
        True
    """
    sides = ["left"] + ["right"] * (len(header) - 1)
    heads = _cells("th", header, sides)
    body = "".join(
        f"<tr>{_image(row[0]) if images else ''}{_cells('td', row[images:], sides[images:])}</tr>" for row in rows
    )
    above = f"<caption style='text-align:left'>{escape(caption)}</caption>" if caption else ""
    return f"<table>{above}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _cells(tag: str, texts: Sequence[str], sides: Sequence[str]) -> str:
    pairs = zip(texts, sides, strict=True)
    return "".join(f"<{tag} style='text-align:{side}'>{escape(text)}</{tag}>" for text, side in pairs)


def _image(address: str) -> str:
    shown = f"<img alt='' style='max-width:64px;max-height:64px' src='{escape(address)}'>" if address else ""
    return f"<td>{shown}</td>"


def picture_address(path: str, side: int = 64) -> str:
    """The ``data:`` address of a small copy of the picture at ``path``; empty if it is no file that can be read."""
    try:
        with Image.open(path) as picture:
            small = ImageOps.exif_transpose(picture).convert("RGB")
        small.thumbnail((side, side))
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{b64encode(buffer.getvalue()).decode()}"
