"""A frontier as a CSV and a JSON file."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path

from metricforge.atomic_write import write_atomically
from metricforge.index.frontier.choice import Frontier


def write_frontier(folder: Path, frontier: Frontier, model: str, source: str) -> tuple[Path, Path]:
    """Write ``frontier.csv``, a row for each choice, and ``frontier.json``, which also says of what, into ``folder``.

    Args:
        folder: created if it is missing.
        frontier: what was measured.
        model: ``EmbeddingModel.hash``.
        source: where the images come from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {frontier.score if key == "score" else key: value for key, value in asdict(choice).items()}
        for choice in frontier.choices
    ]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    files = folder / "frontier.csv", folder / "frontier.json"
    write_atomically(files[0], table.getvalue())
    about = {key: value for key, value in asdict(frontier).items() if key != "choices"}
    content = {"model": model, "source": source, **about, "choices": rows}
    write_atomically(files[1], json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return files
