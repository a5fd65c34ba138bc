"""``metricforge search``: the images of an index that are most similar to given ones."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metricforge.cli.console import open_console
from metricforge.index import Hit, SearchIndex


def search(arguments: argparse.Namespace) -> None:
    """Print the results, a table or a JSON object for each query."""
    index = SearchIndex(arguments.index, device=arguments.device)
    console = open_console()
    found = index.search(arguments.images, arguments.k, arguments.filter, exact=arguments.exact)
    for image, hits in zip(arguments.images, found, strict=True):
        if arguments.json:
            print(json.dumps({"query": image, "hits": [hit.to_json() for hit in hits]}, ensure_ascii=False))
        else:
            _print(console, image, hits, len(index))


def _print(console: Console, image: str, hits: list[Hit], count: int) -> None:
    console.print(Text(image), soft_wrap=True)
    if not hits:
        console.print("  no image in the index fulfils the filter" if count else "  the index has no images")
        return
    calibrated = hits[0].probability is not None
    if calibrated and not hits[0].is_match:
        console.print("  no match: the nearest image is less alike than the index's threshold")
    table = Table("", "score", *(["probability"] if calibrated else []), "label", "id", "image")
    for rank, hit in enumerate(hits, start=1):
        label = Text("" if hit.label is None else str(hit.label), overflow="fold")
        chance = [] if hit.probability is None else [f"{100 * hit.probability:.0f} %"]
        table.add_row(str(rank), f"{hit.score:.3f}", *chance, label, str(hit.id), Text(hit.path, overflow="fold"))
    console.print(table)
