"""``metricforge plot distributions | convergence``: pictures of a checkpoint and of runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from metricforge.cli.console import open_console
from metricforge.interfaces import Similarity
from metricforge.report import draw_convergence, draw_score_distributions
from metricforge.runner import build_runner
from metricforge.similarities import EuclideanSimilarity


def distributions(arguments: argparse.Namespace) -> None:
    """Draw the scores of random pairs of test images by their distance and by the model's own similarity."""
    console = open_console()
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
    similarities: list[Similarity] = [EuclideanSimilarity()]
    if not isinstance(context.similarity, EuclideanSimilarity):
        similarities.append(context.similarity)
    areas = draw_score_distributions(
        context,
        similarities,
        arguments.out,
        arguments.pairs,
        title=f"{Path(arguments.config).stem} on {loop.dataloader.dataset.describe()}",
    )
    for name, area in areas.items():
        console.print(f"{name:<22} ROC area of positive against negative pairs {area:.4f}", highlight=False)
    console.print(f"drawn into {arguments.out}", highlight=False, soft_wrap=True)


def convergence(arguments: argparse.Namespace) -> None:
    """Draw the loss and a score of runs over training, from their histories."""
    drawn = draw_convergence(arguments.runs, arguments.out, arguments.score)
    scores = " or ".join(dict.fromkeys(drawn.values()))
    open_console().print(f"loss and {scores} drawn into {arguments.out}", highlight=False, soft_wrap=True)
