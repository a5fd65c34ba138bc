"""The arguments of ``metricforge test``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.pictures import add_retrieval_picture, embedding_file
from metricforge.cli.parsers.run_arguments import add_checkpoint, add_config, add_run_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    add_config(parser)
    add_checkpoint(parser)
    add_run_arguments(parser, "folder for the results (default: evaluations/CHECKPOINT-N in the checkpoint's folder)")
    parser.add_argument(
        "--save-embeddings",
        metavar="FILE",
        type=embedding_file,
        help="write the embeddings to a .npz or .parquet that metricforge evaluate reads; a separate gallery goes to "
        "a second file next to it",
    )
    add_retrieval_picture(parser)
