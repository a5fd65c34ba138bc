"""``metricforge test CONFIG CHECKPOINT``: evaluates a checkpoint."""

from __future__ import annotations

import argparse
import os

from metricforge.cli.console import open_console
from metricforge.report import draw_retrieval_grid, pick_queries, print_scores
from metricforge.runner import build_runner

PICTURED_QUERIES = 6


def test(arguments: argparse.Namespace) -> None:
    """Evaluate the checkpoint as training does, to the last digit, and write its scores beside it."""
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
    runner.describe()
    scores = runner.test()
    if not runner.processes.is_main:
        return
    print_scores(console, {str(arguments.checkpoint): scores})
    console.print(
        f"\nwritten to {runner.evaluation_dir / 'scores.json'}", highlight=False, markup=False, soft_wrap=True
    )
    if arguments.picture:
        context, dataset = runner.test_loop.context, runner.test_dataloader.dataset
        queries = pick_queries(context, PICTURED_QUERIES, seed=runner.seed)
        draw_retrieval_grid(
            lambda query: dataset.load(int(context.queries.ids[query])),
            context,
            queries,
            arguments.picture,
            title=dataset.describe(),
            gallery_images=lambda place: dataset.load(int(context.gallery.ids[place])),
        )
        console.print(f"drawn into {arguments.picture}", highlight=False, markup=False, soft_wrap=True)
