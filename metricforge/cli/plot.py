"""``metricforge plot distributions | convergence``: pictures of a checkpoint and of runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from metricforge.cli.arguments import add_run_arguments, at_least_1
from metricforge.interfaces import Similarity
from metricforge.report import draw_convergence, draw_score_distributions, picture_formats
from metricforge.runner import build_runner
from metricforge.similarities import EuclideanSimilarity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's pictures and their arguments."""
    pictures = parser.add_subparsers(dest="picture", required=True)

    of_pairs = pictures.add_parser(
        "distributions", help="scores of positive and negative pairs, by distance and by the model's similarity"
    )
    add_run_arguments(of_pairs)
    of_pairs.add_argument("checkpoint", help="a checkpoint that training wrote, such as runs/NAME/best.pth")
    of_pairs.add_argument("--pairs", type=at_least_1, default=20_000, help="how many of each kind (default: 20000)")
    of_pairs.set_defaults(draw=distributions)

    of_runs = pictures.add_parser("convergence", help="loss and score of one or more runs while they trained")
    of_runs.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, such as runs/pddm_glyphs")
    of_runs.add_argument(
        "--score", nargs="+", metavar="NAME", help="such as recall@1; of several, each run's is the first that it has"
    )
    of_runs.set_defaults(draw=convergence)

    for picture in (of_pairs, of_runs):
        picture.add_argument(
            "--out", type=_picture, required=True, metavar="FILE", help="the picture: .png, .pdf, .svg"
        )


def plot(arguments: argparse.Namespace) -> None:
    """Draws the picture that was asked for."""
    arguments.draw(arguments)


def distributions(arguments: argparse.Namespace) -> None:
    """Draws the scores of random pairs of test images by their distance and by the model's own similarity."""
    console = Console()
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
    """Draws how the loss and a score of runs went, from their histories."""
    drawn = draw_convergence(arguments.runs, arguments.out, arguments.score)
    scores = " or ".join(dict.fromkeys(drawn.values()))
    Console().print(f"loss and {scores} drawn into {arguments.out}", highlight=False, soft_wrap=True)


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower().removeprefix(".") not in picture_formats():
        raise argparse.ArgumentTypeError(f"{text}: must end in one of {', '.join(picture_formats())}")
    return path
