"""The arguments of ``metricforge embed``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.values import at_least_0, at_least_1, named_path

WORKERS = 2  # processes that read images, unless the command line says otherwise
# what metricforge.deployment.embedding_model.PRECISIONS says; that module is slow to import
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    add_model_and_source(parser)
    parser.add_argument(
        "--out",
        required=True,
        type=named_path,
        metavar="FOLDER",
        help="folder for the embeddings; run again to continue after an interruption",
    )
    parser.add_argument(
        "--format",
        choices=["parquet", "npy", "npz"],
        default="parquet",
        help="parquet: one file per 4,096 images; npy or npz: these files, plus one file with all embeddings "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--batch-size", type=at_least_1, metavar="N", help="images per batch (default: as in evaluation)"
    )
    add_workers(parser)
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop at an image that cannot be read, including one that an earlier run skipped",
    )
    parser.add_argument(
        "--precision",
        choices=list(PRECISIONS),
        default="fp32",
        help="floating-point precision of the network (default: %(default)s)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the backbone, which takes about a minute at the start"
    )
    parser.add_argument(
        "--channels-last",
        action="store_true",
        help="store images channels-last, which can be faster for convolutional networks",
    )
    parser.add_argument(
        "--engine",
        choices=["local", "ray"],
        default="local",
        help="local: this process, or those started by torchrun; ray: the cluster at RAY_ADDRESS, or a new one on "
        "this machine (default: %(default)s)",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how many processes read images, for ``workers_of``."""
    parser.add_argument(
        "--workers", type=at_least_0, metavar="N", help=f"processes that read images (default: {WORKERS})"
    )


def workers_of(arguments: argparse.Namespace) -> int:
    """How many processes read images."""
    return WORKERS if arguments.workers is None else int(arguments.workers)


def add_model_and_source(parser: argparse.ArgumentParser, other_source: str | None = None) -> None:
    """Add MODEL and what says which images, as every command takes them that embeds a collection.

    Args:
        parser: to which they are added.
        other_source: what else this command takes as SOURCE.
    """
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=named_path,
        help="a run's folder, a checkpoint or a bundle (see metricforge export)",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of images, a table with a path column (.csv, .tsv, .txt, .parquet), an index of tar shards (see "
        f"metricforge data index),{'' if other_source is None else f' {other_source},'} or - for one path per line on "
        "standard input",
    )
    parser.add_argument("--glob", metavar="PATTERN", help="only images of the folder that match, such as '*.jpg'")
