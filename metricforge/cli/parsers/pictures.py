"""The options of pictures, which several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

from metricforge.cli.parsers.values import at_least_1, file_to_write

KINDS = ("mixed", "successes", "failures")
NEIGHBOURS, ROWS = 8, 6


def picture_file(text: str) -> Path:
    """A file to write, whose ending is a format of pictures."""
    # matplotlib's, and slow to import: only if a picture is asked for
    from metricforge.report.save_figure import picture_formats

    path = file_to_write(text)
    if path.suffix.lower().removeprefix(".") not in picture_formats():
        raise argparse.ArgumentTypeError(f"{text}: must end in one of {', '.join(picture_formats())}")
    return path


def embedding_file(text: str) -> Path:
    """A file to write that ``metricforge evaluate`` reads."""
    path = file_to_write(text)
    if path.suffix.lower() not in (".npz", ".parquet"):
        raise argparse.ArgumentTypeError(f"{text}: must end in .npz or .parquet")
    return path


def chosen_queries(text: str) -> Literal["mixed", "successes", "failures"] | list[int]:
    """One of ``KINDS``, or ids separated by commas."""
    if text in KINDS:
        return text  # type: ignore[return-value]
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text}: must be {', '.join(KINDS)}, or ids separated by commas, such as 0,17,5"
        )
    return [int(part) for part in parts]


def add_retrieval_picture(parser: argparse.ArgumentParser) -> None:
    """Add the options of the picture of queries and their nearest images."""
    group = parser.add_argument_group("picture", "some queries with their nearest images, matches and non-matches")
    group.add_argument(
        "--picture", metavar="FILE", type=picture_file, help="draw the picture to FILE: .png, .pdf or .svg"
    )
    group.add_argument(
        "--picture-queries",
        metavar="WHICH",
        type=chosen_queries,
        help="mixed (default: half of them successes), successes or failures, drawn at random with --seed; or indices "
        "of images in the test set, such as 0,17,5",
    )
    group.add_argument(
        "--picture-rows", metavar="N", type=at_least_1, help=f"number of random queries (default: {ROWS})"
    )
    group.add_argument(
        "--picture-neighbours", metavar="N", type=at_least_1, help=f"neighbours per query (default: {NEIGHBOURS})"
    )
    group.add_argument(
        "--picture-numbers",
        action="store_true",
        default=None,
        help="print the similarity score and the distance below each neighbour",
    )
    group.add_argument(
        "--picture-bits",
        action="store_true",
        default=None,
        help="add a row below each query: its neighbours by the signs of the embeddings",
    )
