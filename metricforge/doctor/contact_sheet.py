"""A contact sheet of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps

from metricforge.atomic_write import atomic_write
from metricforge.datasets.decoding.decode_image import decode_image
from metricforge.datasets.decoding.eight_bit_rgb import eight_bit_rgb
from metricforge.doctor.collection import Collection
from metricforge.doctor.diagnose import Finding

# Everything in inches; y grows downwards.
CELL = 1.15
GAP = 0.06
CASE_GAP = 0.22
TEXT = 0.34
HEADING = 0.42
MARGIN = 0.2
WIDTH = 11.0
DOTS_PER_INCH = 130
ROWS_A_KIND = 2
IMAGES_A_CASE = 4
LINE = 27  # letters of a caption that fit below one image
WRONG, NOTE, INK, FAINT = "#d1343f", "#b7791f", "#22262e", "#7b8494"


def draw_contact_sheet(file: Path, collection: Collection, findings: Sequence[Finding]) -> None:
    """Draw up to two rows of cases of each kind, each image with its class and split below, into ``file`` (PNG).

    Args:
        file: overwritten.
        collection: what was checked.
        findings: from ``diagnose``; those that no picture can show are left out.
    """
    shown = [finding for finding in findings if finding.shown]
    layouts = [_layout(finding) for finding in shown]
    height = (
        2 * MARGIN + HEADING + sum(HEADING + (CELL + TEXT) * (max(row for row, *_ in cells) + 1) for cells in layouts)
    )
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    place, text = (MARGIN, MARGIN + 0.1), collection.describe()
    axes.text(*place, text, fontsize=11, fontweight="bold", color=INK, va="center", parse_math=False)
    top = MARGIN + HEADING
    for finding, cells in zip(shown, layouts, strict=True):
        drawn = cells[-1][2] + 1
        cases = f"{len(finding.groups):,} case{'s' if len(finding.groups) > 1 else ''}"
        more = f", the first {drawn} shown" if drawn < len(finding.groups) else ""
        colour = WRONG if finding.wrong else NOTE
        axes.text(MARGIN, top + HEADING / 2, finding.kind, fontsize=10, fontweight="bold", color=colour, va="center")
        axes.text(WIDTH - MARGIN, top + HEADING / 2, f"{cases}{more}", fontsize=8, color=FAINT, va="center", ha="right")
        top += HEADING
        for row, left, case, index in cells:
            _cell(axes, collection, finding, case, index, left, top + row * (CELL + TEXT), colour)
        top += (CELL + TEXT) * (cells[-1][0] + 1)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    with atomic_write(file) as out:
        figure.savefig(out, format="png")


def _layout(finding: Finding) -> list[tuple[int, float, int, int]]:
    """Row, left edge, case and image of each cell; the images of a case stand together."""
    cells: list[tuple[int, float, int, int]] = []
    row, left = 0, MARGIN
    for case, group in enumerate(finding.groups):
        images = group[:IMAGES_A_CASE]
        width = len(images) * CELL + (len(images) - 1) * GAP
        if left + width > WIDTH - MARGIN:
            row, left = row + 1, MARGIN
        if row == ROWS_A_KIND:
            break
        cells += [(row, left + place * (CELL + GAP), case, index) for place, index in enumerate(images)]
        left += width + CASE_GAP
    return cells


def _cell(
    axes: Axes, collection: Collection, finding: Finding, case: int, index: int, left: float, top: float, colour: str
) -> None:
    inner = round(CELL * DOTS_PER_INCH)
    try:
        picture = eight_bit_rgb(decode_image(collection.content(index)).upright())
    except Exception:  # what cannot be shown leaves its place empty; the table says why
        picture = Image.new("RGB", (inner, inner), "#eef0f3")
    picture = ImageOps.pad(picture, (inner, inner), Image.Resampling.BICUBIC, color="#eef0f3")
    axes.imshow(picture, extent=(left, left + CELL, top + CELL, top), aspect="auto", zorder=2)
    if len(finding.groups[case]) > 1:
        axes.add_patch(Rectangle((left, top), CELL, CELL, facecolor="none", edgecolor=colour, linewidth=1.5, zorder=3))
    name = _shortened(collection.class_of(index).replace("_", " "))
    alone = len(finding.groups[case]) == 1
    below = finding.details[case] if alone and finding.details[case] else collection.split_of(index)
    for line, (text, ink) in enumerate(((name, INK), (_shortened(below), FAINT))):
        axes.text(
            left + CELL / 2, top + CELL + 0.09 + 0.12 * line, text, fontsize=5.6, color=ink, ha="center", va="center",
            parse_math=False,
        )  # fmt: skip


def _shortened(text: str) -> str:
    """``text`` without its middle where it is too long: names that are confused tend to differ at their end."""
    return text if len(text) <= LINE else f"{text[: LINE // 2]}…{text[-(LINE // 2) :]}"
