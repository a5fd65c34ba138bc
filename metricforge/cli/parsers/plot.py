"""The arguments of ``metricforge plot``."""

from __future__ import annotations

import argparse
from pathlib import Path

from metricforge.cli.parsers.run_arguments import add_checkpoint, add_config, add_run_arguments
from metricforge.cli.parsers.values import at_least_1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add its pictures and their arguments to ``parser``."""
    pictures = parser.add_subparsers(dest="picture", required=True, metavar="PICTURE", title="pictures")

    purpose = "scores of matching and non-matching pairs, by distance and by the model's similarity"
    of_pairs = pictures.add_parser("distributions", help=purpose, description=f"Draw the {purpose}.")
    add_config(of_pairs)
    add_checkpoint(of_pairs)
    add_run_arguments(of_pairs)
    of_pairs.add_argument(
        "--pairs", type=at_least_1, default=20_000, metavar="N", help="number of pairs of each kind (default: 20000)"
    )
    of_pairs.set_defaults(run="metricforge.cli.plot:distributions")

    purpose = "loss and score of one or more runs during training"
    of_runs = pictures.add_parser("convergence", help=purpose, description=f"Draw the {purpose}.")
    of_runs.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, such as runs/pddm_glyphs")
    of_runs.add_argument(
        "--score", nargs="+", metavar="NAME", help="such as recall@1; of several, the first that a run has"
    )
    of_runs.set_defaults(run="metricforge.cli.plot:convergence")

    for picture in (of_pairs, of_runs):
        picture.add_argument(
            "--out", type=_picture, required=True, metavar="FILE", help="the picture: .png, .pdf or .svg"
        )


def _picture(text: str) -> Path:
    from metricforge.report import picture_formats  # matplotlib's, and slow to import: only if a picture is asked for

    path = Path(text)
    if path.suffix.lower().removeprefix(".") not in picture_formats():
        raise argparse.ArgumentTypeError(f"{text}: must end in one of {', '.join(picture_formats())}")
    return path
