"""``metricforge frontier``: accuracy, bytes and milliseconds of every way to keep and search a model's embeddings."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.table import Table

from metricforge.cli.console import open_console
from metricforge.cli.next_command import next_command
from metricforge.deployment import load_model
from metricforge.deployment.embed_collection import embed_collection
from metricforge.deployment.embedding_parts import read_parts, vectors_of
from metricforge.deployment.image_collection import open_collection
from metricforge.errors import EmbeddingsError
from metricforge.index.frontier import ALL, Frontier, count_matches, measure_frontier, plan_frontier
from metricforge.index.frontier_chart import draw_frontier
from metricforge.index.frontier_file import write_frontier
from metricforge.progress_bars import progress_bar

console = open_console()
EMBEDDINGS = "embeddings"  # below --out: what ``metricforge embed`` would write


def frontier(arguments: argparse.Namespace) -> None:
    """Embed once, measure every choice, and print, write and draw what was found."""
    collection = open_collection(arguments.source, glob=arguments.glob, lines=sys.stdin)
    if collection.labels is None:
        raise EmbeddingsError(
            f"{collection.source}: its images have no labels, and accuracy needs them; name a folder with one "
            "sub-folder a class, or a table with a column label"
        )
    model = load_model(arguments.model, device=arguments.device)
    similarity = model.learner.similarity
    chosen = arguments.spaces, arguments.kinds, arguments.recall
    count_matches(np.array(collection.labels.to_pylist(), dtype=object))
    plan = plan_frontier(model.dim, len(collection), similarity, *chosen)
    _say(f"model    {model}")
    _say(f"images   {len(collection):,} in {collection.source}")
    for left in collection.left_out:
        _say(f"         {left.describe()}")
    place = tempfile.TemporaryDirectory() if arguments.out is None else nullcontext(str(arguments.out / EMBEDDINGS))
    with place as folder:
        with progress_bar(console, "embedding", len(collection)) as advance:
            found = embed_collection(model, collection, Path(folder), num_workers=arguments.workers, on_images=advance)
        if found.unreadable:
            count, first = len(found.unreadable), found.unreadable[0][0]
            _say(f"         {count:,} images cannot be read and are left out, such as {first}")
        parts = list(read_parts(Path(folder)))
    vectors = np.concatenate([vectors_of(part) for part in parts])
    labels = np.array(pa.concat_tables(part.select(["label"]) for part in parts)["label"].to_pylist(), dtype=object)
    with progress_bar(console, "measuring", plan.choices) as advance:
        measured = measure_frontier(
            vectors,
            labels,
            similarity,
            score=arguments.score,
            spaces=arguments.spaces,
            kinds=arguments.kinds,
            recall=arguments.recall,
            most_queries=arguments.queries,
            on_choice=advance,
        )
    _report(measured)
    if arguments.out is not None:
        files = write_frontier(arguments.out, measured, model.hash, collection.source)
        picture = arguments.out / "frontier.png"
        draw_frontier(measured, picture, f"{Path(arguments.model).name} on {Path(collection.source).name}")
        _say(f"written  {', '.join(str(file) for file in (*files, picture))}")
    kind = _cheapest(measured)
    if kind is not None:
        _say(f"build it: {next_command('index', arguments.model, arguments.source, '--out', 'INDEX', '--kind', kind)}")


def _report(measured: Frontier) -> None:
    table = Table("", "dimensions", "kind", measured.score, "bytes a vector", "ms a query")
    for column in table.columns[3:]:
        column.justify = "right"
    for choice in measured.choices:
        kind = f"{choice.kind} refined" if choice.refined else choice.kind
        table.add_row(
            "*" if choice.pareto else "",
            choice.space,
            kind,
            f"{choice.score:.4f}",
            f"{choice.bytes_a_vector:,.0f}",
            f"{choice.milliseconds_a_query:.3f}",
            style="bold" if choice.pareto else "",
        )
    console.print(table)
    sampled = f"{measured.queries:,} queries among {measured.images:,} images, each without itself"
    alone = f"; {measured.without_match:,} are alone in their class and are no query" if measured.without_match else ""
    _say(f"*        no other choice is at least as good in all three and better in one\nmeasured {sampled}{alone}")
    for told in measured.left_out:
        _say(f"left out {told}")


def _cheapest(measured: Frontier) -> str | None:
    """The kind of the smallest choice of the Pareto set that an index of this model can have, as accurate as flat."""
    best = max(choice.score for choice in measured.choices)
    able = [choice for choice in measured.choices if choice.space == ALL and choice.pareto and choice.score == best]
    return able[0].kind if able else None


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
