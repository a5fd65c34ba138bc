"""``metricforge frontier``: accuracy, bytes and milliseconds of every way to keep and search a model's embeddings."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.table import Table

from metricforge.arrays import Array, Floats32
from metricforge.cli.console import open_console
from metricforge.cli.next_command import next_command
from metricforge.cli.parsers.embed import workers_of
from metricforge.cli.stored_source import stored_source
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.stored_embeddings import StoredEmbeddings, holds_embeddings
from metricforge.errors import EmbeddingsError
from metricforge.index.frontier import Frontier, count_matches, measure_frontier, plan_frontier
from metricforge.index.frontier.choice import ALL
from metricforge.index.frontier.files import write_frontier
from metricforge.index.indexed_model import open_indexed_model
from metricforge.progress_bars import progress_bar

if TYPE_CHECKING:
    from metricforge.index.array_similarity import ArraySimilarity
    from metricforge.interfaces import Similarity

# PyTorch is imported by what embeds images alone.
console = open_console()
EMBEDDINGS = "embeddings"  # below --out: what ``metricforge embed`` would write


class _Embedded(NamedTuple):
    """``vectors`` (N, D) with their ``labels`` (N,), from ``source``; who made them, and how they are compared."""

    vectors: Floats32
    labels: Array
    source: str
    model_hash: str
    similarity: Similarity | ArraySimilarity


def frontier(arguments: argparse.Namespace) -> None:
    """Embed once, measure every choice, and print, write and draw what was found."""
    embedded = _stored(arguments) if holds_embeddings(arguments.source) else _embedded(arguments)
    vectors, labels, source, model_hash, similarity = embedded
    plan = plan_frontier(vectors.shape[1], len(vectors), similarity, *_chosen(arguments))
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
        from metricforge.index.frontier.chart import draw_frontier

        files = write_frontier(arguments.out, measured, model_hash, source)
        picture = arguments.out / "frontier.png"
        draw_frontier(measured, picture, f"{Path(arguments.model).name} on {Path(source).name}")
        _say(f"written  {', '.join(str(file) for file in (*files, picture))}")
    kind = _cheapest(measured)
    if kind is not None:
        _say(f"build it: {next_command('index', arguments.model, arguments.source, '--out', 'INDEX', '--kind', kind)}")


def _embedded(arguments: argparse.Namespace) -> _Embedded:
    """The images of SOURCE, embedded; what cannot be measured is told before."""
    from metricforge.deployment import load_model
    from metricforge.deployment.embed_collection import embed_collection

    collection = open_collection(arguments.source, glob=arguments.glob, lines=sys.stdin)
    if collection.labels is None:
        raise _unlabelled(collection.source)
    model = load_model(arguments.model, device=arguments.device)
    similarity = model.learner.similarity
    count_matches(np.array(collection.labels.to_pylist(), dtype=object))
    plan_frontier(model.dim, len(collection), similarity, *_chosen(arguments))
    _say(f"model    {model}")
    _say(f"images   {len(collection):,} in {collection.source}")
    for left in collection.left_out:
        _say(f"         {left.describe()}")
    place = tempfile.TemporaryDirectory() if arguments.out is None else nullcontext(str(arguments.out / EMBEDDINGS))
    with place as folder:
        with progress_bar(console, "embedding", len(collection)) as advance:
            found = embed_collection(
                model, collection, Path(folder), num_workers=workers_of(arguments), on_images=advance
            )
        if found.unreadable:
            count, first = len(found.unreadable), found.unreadable[0][0]
            _say(f"         {count:,} images cannot be read and are left out, such as {first}")
        stored = StoredEmbeddings(Path(folder))
        return _Embedded(*_rows(stored), collection.source, model.hash, similarity)


def _stored(arguments: argparse.Namespace) -> _Embedded:
    """The embeddings of SOURCE as they are; PyTorch is not imported for them."""
    stored = stored_source(arguments)
    with open_indexed_model(arguments.model) as described:
        stored.check_model(described.hash, described.source)
        _say(f"model    {described}")
        _say(f"images   {len(stored):,} with embeddings in {stored.folder}, computed in {stored.origin.precision}")
        return _Embedded(*_rows(stored), str(stored.folder), described.hash, described.similarity)


def _rows(stored: StoredEmbeddings) -> tuple[Floats32, Array]:
    """The vectors (N, D) and labels (N,) of ``stored``."""
    if not len(stored):
        raise EmbeddingsError(f"none of the {stored.origin.rows:,} images of {stored.folder} could be read")
    everything = range(len(stored))
    columns = stored.columns(everything)
    if "label" not in columns.column_names:
        raise _unlabelled(stored.folder)
    return np.concatenate([*stored.vectors(everything)]), np.array(columns["label"].to_pylist(), dtype=object)


def _unlabelled(source: str | Path) -> EmbeddingsError:
    return EmbeddingsError(
        f"{source}: the images have no labels, which accuracy needs; name a folder with one sub-folder per class, or "
        "a table with a column label"
    )


def _chosen(arguments: argparse.Namespace) -> tuple[list[str] | None, list[str] | None, float | None]:
    return arguments.spaces, arguments.kinds, arguments.recall


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
    alone = f"; {measured.without_match:,} have no match and are not searched" if measured.without_match else ""
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
