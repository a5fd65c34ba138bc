"""The arguments of ``metricforge test``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.pictures import add_retrieval_picture, embedding_file
from metricforge.cli.parsers.run_arguments import add_checkpoint, add_config, add_run_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    add_config(parser)
    add_checkpoint(parser)
    add_run_arguments(parser, "where the results are written (default: the checkpoint's folder)")
    parser.add_argument(
        "--save-embeddings",
        metavar="FILE",
        type=embedding_file,
        help="write what was scored into a .npz or .parquet that metricforge evaluate reads; a gallery of its own into "
        "another beside it",
    )
    add_retrieval_picture(parser)
