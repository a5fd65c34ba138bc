"""``metricforge duplicates``: the images of an index that show the same thing, in groups."""

from __future__ import annotations

import argparse
import json

from rich.text import Text

from metricforge.cli.console import open_console
from metricforge.index import SearchIndex


def duplicates(arguments: argparse.Namespace) -> None:
    """Print the groups: as text, or a JSON object for each."""
    groups = SearchIndex(arguments.index).duplicates(arguments.threshold)
    if arguments.json:
        for group in groups:
            print(json.dumps({"images": [hit.to_json() for hit in group]}, ensure_ascii=False))
        return
    console = open_console()
    for number, group in enumerate(groups, start=1):
        console.print(f"group {number}: {len(group):,} images", highlight=False)
        for hit in group:
            label = "" if hit.label is None else f"  ({hit.label})"
            console.print(Text(f"  {hit.score:.4f}  id {hit.id}  {hit.path}{label}"), soft_wrap=True)
    count = sum(map(len, groups))
    console.print(f"groups: {len(groups):,}, images in them: {count:,}", highlight=False)
