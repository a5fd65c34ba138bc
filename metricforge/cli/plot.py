"""``metricforge plot distributions | convergence``: pictures of a checkpoint and of runs."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from metricforge.cli.console import open_console
from metricforge.comparison import differing_settings
from metricforge.datasets import ImageDataset
from metricforge.evaluation import EvaluationContext, read_scores
from metricforge.interfaces import Similarity
from metricforge.report.convergence import draw_convergence
from metricforge.report.embedding_map import draw_embedding_map, pick_images
from metricforge.report.score_curves import draw_score_curves
from metricforge.report.score_distributions import draw_score_distributions
from metricforge.runner import build_runner
from metricforge.similarities import EuclideanSimilarity


def distributions(arguments: argparse.Namespace) -> None:
    """Draw the scores of random pairs of test images by their distance and by the model's own similarity."""
    console = open_console()
    context, dataset, _ = _embedded(arguments, console)
    similarities: list[Similarity] = [EuclideanSimilarity()]
    if not isinstance(context.similarity, EuclideanSimilarity):
        similarities.append(context.similarity)
    areas = draw_score_distributions(
        context,
        similarities,
        arguments.out,
        arguments.pairs,
        title=f"{Path(arguments.config).stem} on {dataset.describe()}",
    )
    for name, area in areas.items():
        console.print(f"{name:<22} ROC area of positive against negative pairs {area:.4f}", highlight=False)
    console.print(f"drawn into {arguments.out}", highlight=False, markup=False, soft_wrap=True)


def _embedded(arguments: argparse.Namespace, console: Console) -> tuple[EvaluationContext, ImageDataset, int]:
    """The test images of a config, embedded by a checkpoint, the data set they are of, and the seed."""
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
    loop = runner.build_test_loop({})
    context = loop.embed(runner.model)
    assert context is not None, "a picture is drawn by one process"
    return context, loop.dataloader.dataset, runner.seed


def embedding_map(arguments: argparse.Namespace) -> None:
    """Draw test images where t-SNE lays their embeddings."""
    console = open_console()
    context, dataset, seed = _embedded(arguments, console)
    chosen, ids = pick_images(context, arguments.images, arguments.classes, seed), np.asarray(context.gallery.ids)
    with console.status("laying the map out"):
        draw_embedding_map(
            lambda index: dataset.load(int(ids[index])),
            context,
            chosen,
            arguments.out,
            arguments.perplexity,
            title=f"{Path(arguments.config).stem} on {dataset.describe()}",
            seed=seed,
        )
    console.print(f"{len(chosen):,} images drawn into {arguments.out}", highlight=False, markup=False, soft_wrap=True)


def curve(arguments: argparse.Namespace) -> None:
    """Draw scores of runs over a setting of their configs, and print them."""
    curves = draw_score_curves(
        arguments.runs, arguments.out, arguments.against, arguments.score, arguments.by, arguments.missing
    )
    _warn_of_unlike_scores(arguments.runs, arguments.score)
    console = open_console()
    for each in curves:
        points = "  ".join(f"{value:g}: {mean:.1f}" for value, mean in zip(each.values, each.means, strict=True))
        console.print(f"{each.name}  {points}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"drawn into {arguments.out}", highlight=False, markup=False, soft_wrap=True)


def _warn_of_unlike_scores(runs: Sequence[str], scores: Sequence[str]) -> None:
    protocols = [read_scores(Path(run) / "scores.json")[1] for run in runs]
    for score in scores:
        names = [one.setting for one in differing_settings(score, protocols)]
        if names:
            warnings.warn(
                f"{score} was not measured in the same way in all runs: they differ in {', '.join(names)}; "
                "metricforge compare says which run has what",
                stacklevel=2,
            )


def convergence(arguments: argparse.Namespace) -> None:
    """Draw the loss and a score of runs over training, from their histories."""
    drawn = draw_convergence(arguments.runs, arguments.out, arguments.score)
    scores = " or ".join(dict.fromkeys(drawn.values()))
    open_console().print(f"loss and {scores} drawn into {arguments.out}", highlight=False, soft_wrap=True)
