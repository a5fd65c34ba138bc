"""The arguments of ``metricforge plot``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.pictures import picture_file
from metricforge.cli.parsers.run_arguments import add_checkpoint, add_config, add_run_arguments
from metricforge.cli.parsers.values import at_least_1, finite, score_names


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
        "--score",
        nargs="+",
        metavar="NAME",
        help="score to draw, such as recall@1; if several are given, the first that a run has",
    )
    of_runs.set_defaults(run="metricforge.cli.plot:convergence")

    purpose = "map of the test images by t-SNE of their embeddings, with thumbnails"
    of_images = pictures.add_parser("map", help=purpose, description=f"Draw a {purpose}.")
    add_config(of_images)
    add_checkpoint(of_images)
    add_run_arguments(of_images)
    of_images.add_argument(
        "--images",
        type=at_least_1,
        default=1000,
        metavar="N",
        help="maximum number of images, drawn at random (default: 1000)",
    )
    of_images.add_argument("--classes", type=at_least_1, metavar="N", help="draw only N random classes (default: all)")
    of_images.add_argument(
        "--perplexity",
        type=finite,
        default=30.0,
        metavar="X",
        help="t-SNE's perplexity: roughly the number of neighbours per image (default: 30)",
    )
    of_images.set_defaults(run="metricforge.cli.plot:embedding_map")

    purpose = "scores of finished runs against a setting, such as the embedding size"
    of_settings = pictures.add_parser("curve", help=purpose, description=f"Draw the {purpose}.")
    of_settings.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder; runs with the same setting are averaged"
    )
    of_settings.add_argument(
        "--against", required=True, metavar="KEY", help="numeric key of the config, such as model.head.dim"
    )
    of_settings.add_argument(
        "--score",
        type=score_names,
        default="recall@1",
        metavar="NAMES",
        help="comma-separated, such as recall@1,binary/recall@1 (default: %(default)s)",
    )
    of_settings.add_argument("--by", metavar="KEY", help="draw one line per value of this key, such as model.loss.type")
    of_settings.add_argument(
        "--missing", type=finite, metavar="X", help="value for runs whose config lacks the key, such as 1"
    )
    of_settings.set_defaults(run="metricforge.cli.plot:curve")

    for picture in (of_pairs, of_runs, of_images, of_settings):
        picture.add_argument(
            "--out", type=picture_file, required=True, metavar="FILE", help="the picture: .png, .pdf or .svg"
        )
