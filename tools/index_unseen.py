"""Index the characters that a run on Glyphs never saw: ``python tools/index_unseen.py runs/normsoftmax_glyphs``.

Glyphs are no files: they are written as PNGs into the run's folder ``unseen``, with a table of label and font, before
they are indexed as any collection is. It ends with the command that opens the search page on them.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from rich.console import Console

from metricforge.cli.next_command import next_command
from metricforge.datasets.glyphs.glyph_dataset import GlyphDataset
from metricforge.deployment import load_model
from metricforge.deployment.image_collection import open_collection
from metricforge.index import build_index
from metricforge.index.manifest import NAME, Manifest
from metricforge.progress_bars import progress_bar


def write_pictures(folder: Path) -> Path:
    """Write each picture of the test split as a PNG below ``folder``, and the table that names them."""
    glyphs = GlyphDataset(split="test")
    paths, labels, fonts = [], [], []
    for number in range(len(glyphs)):
        label, font = re.fullmatch(r"glyph (.+) in (\S+)", glyphs.location(number)).groups()  # type: ignore[union-attr]
        path = Path("_".join(f"U+{ord(character):04X}" for character in label if character != " "), f"{number}.png")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        glyphs.load(number).save(folder / path)
        paths.append(str(path))
        labels.append(label)
        fonts.append(font)
    table = folder / "unseen.parquet"
    parquet.write_table(pa.table({"path": paths, "label": labels, "font": fonts}), table)
    return table


def main() -> None:
    """Write the pictures, index them, and say what to type next."""
    parser = argparse.ArgumentParser(description="Index the characters that a run on Glyphs never saw.")
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    run = parser.parse_args().run
    console = Console()
    index = run / "index"
    model = load_model(run)
    if (index / NAME).exists() and Manifest.read(index).model_hash != model.hash:
        shutil.rmtree(index)  # of an earlier training
    if not (index / NAME).exists():
        collection = open_collection(write_pictures(run / "unseen"))
        with progress_bar(console, "indexing", len(collection)) as advance:
            build_index(model, collection, index, on_images=advance)
    console.print(
        f"\nSearch among the characters that training never saw, in a browser:\n  {next_command('serve', index)}\n"
        "The same with images of your own, by a run that was trained on some (docs/your-own-images.md):\n"
        f"  {next_command('index', 'RUN', 'FOLDER', '--out', 'INDEX')}\n"
        f"  {next_command('serve', 'INDEX')}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    main()
