"""The arguments of ``metricforge frontier``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.embed import add_model_and_source, add_workers
from metricforge.cli.parsers.index import KINDS
from metricforge.cli.parsers.values import at_least_1, named_path, score_names, share

# what metricforge.index.frontier.measuring.SCORES says; that module is slow to import
SCORES = ("recall@1", "map@r")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    add_model_and_source(parser, "a folder that metricforge embed wrote with the same MODEL")
    parser.add_argument(
        "--out",
        type=named_path,
        metavar="FOLDER",
        help="folder for frontier.csv, frontier.json, frontier.png and the embeddings, which the next run reuses",
    )
    parser.add_argument(
        "--score", choices=SCORES, default="recall@1", help="measure of accuracy (default: %(default)s)"
    )
    parser.add_argument(
        "--spaces",
        type=score_names,
        metavar="SPACES",
        help="comma-separated: all (dimensions), first:N, pca:N (default: all, one half and one quarter of them)",
    )
    parser.add_argument(
        "--kinds",
        type=score_names,
        metavar="KINDS",
        help=f"comma-separated: {', '.join(KINDS)} (default: all that the number of images allows)",
    )
    parser.add_argument(
        "--recall",
        type=share,
        metavar="SHARE",
        help="share of the true ten nearest images that hnsw, ivfint8 and ivfpq must find (default: 0.95)",
    )
    parser.add_argument(
        "--queries",
        type=at_least_1,
        default=10_000,
        metavar="N",
        help="maximum number of images to search with, drawn at random (default: %(default)s)",
    )
    add_workers(parser)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
