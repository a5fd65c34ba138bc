"""``metricforge test CONFIG CHECKPOINT``: evaluates a checkpoint."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from metricforge.cli.console import open_console
from metricforge.cli.evaluated_similarity import evaluated_similarity, other_scores
from metricforge.cli.next_command import next_command
from metricforge.cli.parsers.pictures import NEIGHBOURS, ROWS
from metricforge.datasets import ImageDataset
from metricforge.engine.metric_runner import MetricRunner
from metricforge.errors import MetricForgeError
from metricforge.evaluation import EvaluationContext
from metricforge.functional import check_packable
from metricforge.measurement import build_evaluators, save_embeddings
from metricforge.report.pick_queries import pick_queries, queries_of_ids
from metricforge.report.retrieval_grid import draw_retrieval_grid
from metricforge.report.score_table import print_scores
from metricforge.runner import build_runner
from metricforge.similarities import HammingSimilarity

# what metricforge evaluate calls them; others, learned ones among them, it does not know


def test(arguments: argparse.Namespace) -> None:
    """Evaluate the checkpoint as training does, to the last digit, and write its scores beside it."""
    _check_options(arguments)
    console = open_console(quiet=os.environ.get("RANK", "0") != "0")
    with console.status("looking at the config, the data and the checkpoint"):
        runner = build_runner(
            arguments.config,
            overrides=arguments.cfg_options,
            work_dir=arguments.work_dir,
            checkpoint=arguments.checkpoint,
            seed=arguments.seed,
            device=arguments.device,
            console=console,
        )
    if arguments.picture_bits:
        _check_bits(int(runner.model.head.dim))  # type: ignore[arg-type]
    runner.describe()
    scores = runner.test()
    if not runner.processes.is_main:
        return
    print_scores(console, {str(arguments.checkpoint): scores})
    _say(console, f"\nwritten to {runner.evaluation_dir / 'scores.json'}")
    if arguments.save_embeddings:
        _save_embeddings(arguments.save_embeddings, runner, console)
    if arguments.picture:
        dataset = runner.test_dataloader.dataset
        _draw(arguments, runner.test_loop.context, dataset, runner.seed)
        _say(console, f"drawn into {arguments.picture}")


def _check_options(arguments: argparse.Namespace) -> None:
    """Raise MetricForgeError for options of a picture that there will not be."""
    options = ("picture_queries", "picture_rows", "picture_neighbours", "picture_numbers", "picture_bits")
    given = [f"--{name.replace('_', '-')}" for name in options if getattr(arguments, name) is not None]
    if given and not arguments.picture:
        raise MetricForgeError(f"{', '.join(given)}: applies to a picture, and none is drawn; add --picture FILE")
    if arguments.picture_rows is not None and isinstance(arguments.picture_queries, list):
        raise MetricForgeError(
            f"--picture-rows {arguments.picture_rows}: --picture-queries names the queries already; leave one out"
        )


def _check_bits(dim: int) -> None:
    try:
        check_packable(dim)
    except ValueError as fault:
        raise MetricForgeError(f"--picture-bits: {fault}") from fault


def _draw(arguments: argparse.Namespace, context: EvaluationContext, dataset: ImageDataset, seed: int) -> None:
    wanted: Any = arguments.picture_queries or "mixed"
    query_ids, gallery_ids = np.asarray(context.queries.ids), np.asarray(context.gallery.ids)
    try:
        if isinstance(wanted, list):
            queries = queries_of_ids(context, wanted)
        else:
            queries = pick_queries(context, arguments.picture_rows or ROWS, seed, wanted)
        draw_retrieval_grid(
            lambda query: dataset.load(int(query_ids[query])),
            context,
            queries,
            arguments.picture,
            arguments.picture_neighbours or NEIGHBOURS,
            title=dataset.describe(),
            gallery_images=lambda index: dataset.load(int(gallery_ids[index])),
            numbers=bool(arguments.picture_numbers),
            rankings={"floats": context, "bits": context.by(HammingSimilarity())} if arguments.picture_bits else None,
        )
    except ValueError as fault:  # more queries or neighbours than there are
        raise MetricForgeError(f"--picture: {fault}") from fault


def _save_embeddings(path: Path, runner: MetricRunner, console: Console) -> None:
    """Write what was scored, and say how to score it again."""
    context: EvaluationContext = runner.test_loop.context
    words: list[object] = ["evaluate", save_embeddings(context.queries, path)]
    if not context.searches_itself:
        words += ["--gallery", save_embeddings(context.gallery, path.with_name(f"{path.stem}.gallery{path.suffix}"))]
    _say(console, f"embeddings written to {' and '.join(str(word) for word in words[1::2])}")
    similarity = evaluated_similarity(context.similarity)
    if similarity is None:
        _say(console, other_scores(context.similarity))
        return
    words += ["--similarity", similarity, "--seed", runner.seed]
    if context.task.exclude is not None:
        words += ["--exclude", context.task.exclude]
    known = [name for name in runner.last_scores if _is_known([name])]
    if known:
        _say(console, f"score them again: {next_command(*words, '--scores', ','.join(known))}")


def _is_known(names: Sequence[str]) -> bool:
    """Whether ``metricforge evaluate`` has these scores without more being given."""
    try:
        build_evaluators(names)
    except MetricForgeError:
        return False
    return True


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
