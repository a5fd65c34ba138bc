"""``metricforge evaluate FILE``: scores of embeddings that any tool made."""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console

from metricforge.cli.console import open_console
from metricforge.clusterings import AffinityPropagation
from metricforge.deployment.single_file import read_tagged_embeddings
from metricforge.errors import EmbeddingsError
from metricforge.evaluation import EvaluationContext, write_scores
from metricforge.interfaces import Clustering
from metricforge.measurement import Measurement, TaggedEmbeddings, evaluate_embeddings, read_embedding_file
from metricforge.progress_bars import progress_bar
from metricforge.report.class_table import print_confused_classes, print_worst_classes
from metricforge.report.score_table import print_scores

SHOWN_CLASSES = 5


def evaluate(arguments: argparse.Namespace) -> None:
    """Print the scores and what was left out, and write them if asked."""
    console = open_console()
    spaces = [name.strip() for name in arguments.space.split(",") if name.strip()]
    with console.status("reading"):
        queries = _read(arguments.embeddings)
        gallery = None if arguments.gallery is None else _read(arguments.gallery)
        fit_spaces = None if arguments.fit_space is None else _read(arguments.fit_space)
    measured = evaluate_embeddings(
        queries,
        gallery=gallery,
        scores=arguments.scores,
        similarity=arguments.similarity,
        seed=arguments.seed,
        device=arguments.device,
        progress=partial(progress_bar, console),
        clustering=_clustering(arguments.clustering, arguments.affinity_neighbours),
        tree=arguments.tree,
        spaces=spaces,
        nearest=bool(arguments.json or arguments.classes),
        fit_spaces=fit_spaces,
        exclude=arguments.exclude,
    )
    context = measured.context
    task = context.task
    size = f"{len(context.queries):,} queries of {task.num_classes:,} classes"
    searched = "in their own set, without themselves" if gallery is None else f"in {len(context.gallery):,} images"
    itself = "" if gallery is None else ", without themselves (by id)" if task.shared_ids else ", which are others"
    console.print(
        f"{size}, {queries.embeddings.shape[1]} dimensions ({context.bytes_per_vector} bytes a vector), searched "
        f"{searched}{itself}, by {arguments.similarity} similarity",
        highlight=False,
        soft_wrap=True,
    )
    if task.queries_without_match:
        console.print(_left_out(context), highlight=False, markup=False, soft_wrap=True)
    if context.clusters_found not in (None, task.num_classes):
        console.print(
            f"{arguments.clustering} found {context.clusters_found} clusters where {task.num_classes} were wanted",
            highlight=False,
            soft_wrap=True,
        )
    rows = {f"{arguments.embeddings.name} ({context.bytes_per_vector} bytes)": _scores_of("", measured.scores)}
    for space, taken in measured.space_bytes.items():
        rows[f"{space} ({taken} bytes)"] = _scores_of(f"{space}/", measured.scores)
    print_scores(console, rows if spaces else {arguments.embeddings.name: measured.scores})
    if arguments.json:
        write_scores(arguments.json, measured.scores, measured.protocol, measured.queries)
        console.print(f"written to {arguments.json}", highlight=False, markup=False, soft_wrap=True)
    if arguments.classes:
        _print_classes(console, measured, arguments.classes)


def _read(path: Path) -> TaggedEmbeddings:
    return read_tagged_embeddings(path) if path.is_dir() else read_embedding_file(path)


def _print_classes(console: Console, measured: Measurement, count: int) -> None:
    queries = measured.queries
    if queries is None:
        raise EmbeddingsError("--classes: none of the scores is a mean over queries; add recall@1 to --scores")
    print_worst_classes(console, queries, next(name for name in measured.scores if name in queries.values), count)
    if "" in queries.nearest:
        print_confused_classes(console, queries, "", count)


def _clustering(name: Literal["k-means", "affinity"], neighbours: int | None) -> Literal["k-means"] | Clustering:
    if name == "affinity":
        return AffinityPropagation(neighbours)
    if neighbours is not None:
        raise EmbeddingsError(
            f"--affinity-neighbours {neighbours}: does not apply to k-means; add --clustering affinity, or leave it out"
        )
    return "k-means"


def _scores_of(space: str, scores: dict[str, float]) -> dict[str, float]:
    """Those of ``scores`` that ``space`` leads, under their plain names."""
    names = [name for name in scores if name.startswith(space) and ("/" not in name or space)]
    return {name.removeprefix(space): scores[name] for name in names}


def _left_out(context: EvaluationContext) -> str:
    lone = Counter(context.queries.labels[context.matches == 0].tolist())
    names = context.queries.class_names
    classes = [str(names[label]) if names else str(label) for label in sorted(lone)]
    listed = ", ".join(classes[:SHOWN_CLASSES]) + (", ..." if len(classes) > SHOWN_CLASSES else "")
    return (
        f"{context.task.queries_without_match:,} queries have no other image of their class to find and are left "
        f"out of the retrieval scores; {len(classes):,} classes: {listed}"
    )
