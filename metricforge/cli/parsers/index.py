"""The arguments of ``metricforge index``, which builds an index unless its first word is one of ``VERBS``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from metricforge.cli.parsers.embed import add_model_and_source, add_workers
from metricforge.cli.parsers.values import at_least_0, at_least_1, fraction, memory_size, named_path, share

# what metricforge.index.kinds.KINDS says; that module is slow to import
KINDS = ("flat", "hnsw", "ivfint8", "ivfpq", "int8", "binary")
VERBS = ("build", "add", "remove", "calibrate", "compact", "migrate", "export", "status")
# what metricforge.index.databases.TARGETS says
TARGETS = ("qdrant", "lancedb", "pgvector")


def with_verb(argv: Sequence[str]) -> list[str]:
    """``argv`` with the verb that ``metricforge index MODEL SOURCE`` leaves out."""
    words = list(argv)
    if len(words) > 1 and words[0] == "index" and words[1] not in (*VERBS, "-h", "--help"):
        words.insert(1, "build")
    return words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments to ``parser``."""
    parser.usage = "metricforge index MODEL SOURCE --out INDEX [options] | metricforge index COMMAND INDEX [options]"
    commands = parser.add_subparsers(
        dest="index_command", required=True, metavar="COMMAND", title="commands", prog="metricforge index"
    )
    _add_build(commands)
    _add_change(commands, "add", "add images, replacing those with the same path")
    _add_change(commands, "remove", "remove images by id, path or filter")
    _add_change(commands, "calibrate", "choose the similarity below which a query counts as unknown")
    _add_change(commands, "compact", "make searching faster after many changes, and free the space of removed images")
    _add_change(commands, "migrate", "re-embed all images with another model, then switch to it in one step")
    _add_change(commands, "export", "export vectors and columns to a vector database")
    _add_change(commands, "status", "show what an index contains, how it is searched and how accurately")


def _add_build(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    purpose = "embed images and build an index of them (build may be left out: metricforge index MODEL SOURCE)"
    parser = commands.add_parser("build", help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
    add_model_and_source(parser, "a folder that metricforge embed wrote with the same MODEL")
    parser.add_argument(
        "--out",
        required=True,
        type=named_path,
        metavar="INDEX",
        help="folder of the new index; run again to continue a build that was interrupted",
    )
    parser.add_argument(
        "--kind",
        choices=["auto", *KINDS],
        default="auto",
        help="flat compares every vector; hnsw is a graph; ivfint8 (8 bits per dimension) and ivfpq (2 bits) compare "
        "the codes in the lists near the query; int8 (8 bits) and binary (1 bit) compare every code; auto chooses by "
        "the number of images and --memory (default: %(default)s)",
    )
    parser.add_argument("--memory", type=memory_size, metavar="SIZE", help="memory that searching may use, such as 2GB")
    parser.add_argument(
        "--recall",
        type=share,
        metavar="SHARE",
        help="share of the true ten nearest images that a kind other than flat must find (default: 0.95)",
    )
    parser.add_argument(
        "--segment-rows",
        type=at_least_1,
        default=10_000_000,
        metavar="N",
        help="maximum number of images per segment; each has its own files and search structure (default: 10 million)",
    )
    add_workers(parser)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.set_defaults(run="metricforge.cli.index:build")


def _add_change(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, purpose: str) -> None:
    parser = commands.add_parser(name, help=purpose, description=f"{purpose.capitalize()}.")
    parser.add_argument("index", metavar="INDEX", type=named_path, help="the index's folder")
    if name == "add":
        parser.add_argument(
            "source",
            metavar="SOURCE",
            help="images, in any form that metricforge embed accepts; or - for one path per line on standard input",
        )
        parser.add_argument("--glob", metavar="PATTERN", help="only images of the folder that match, such as '*.jpg'")
    if name in ("add", "calibrate", "migrate"):
        parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    if name == "remove":
        parser.add_argument("paths", nargs="*", metavar="IMAGE", help="paths of images to remove")
        parser.add_argument(
            "--id",
            dest="ids",
            type=int,
            action="append",
            default=[],
            metavar="ID",
            help="remove this id; may be repeated",
        )
        parser.add_argument(
            "--filter", metavar="CONDITION", help="remove images matching an SQL condition, such as \"label = 'shoe'\""
        )
    if name == "calibrate":
        parser.add_argument(
            "source",
            metavar="SOURCE",
            nargs="?",
            help="labelled images of classes that the model was not trained on (default: the images in the index)",
        )
        parser.add_argument(
            "--rate",
            type=fraction,
            default=0.01,
            metavar="SHARE",
            help="acceptable share of queries of unknown classes that are falsely accepted (default: %(default)s)",
        )
    if name == "migrate":
        parser.add_argument("model", metavar="NEW_MODEL", help="a run's folder, a checkpoint or a bundle")
        parser.add_argument(
            "--drop-unreadable",
            action="store_true",
            help="remove images that can no longer be read (default: refuse, and change nothing)",
        )
        parser.add_argument(
            "--workers",
            type=at_least_0,
            default=2,
            metavar="N",
            help="processes that read images (default: %(default)s)",
        )
    if name == "export":
        parser.add_argument("--to", required=True, choices=TARGETS, help="the database")
        parser.add_argument(
            "--out",
            required=True,
            type=named_path,
            metavar="PATH",
            help="a new folder for a local Qdrant or LanceDB, or a new SQL file for PostgreSQL with pgvector",
        )
        parser.add_argument(
            "--name", default="images", metavar="NAME", help="name of the collection or table (default: %(default)s)"
        )
    if name == "status":
        parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=f"metricforge.cli.index:{name}")


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every search takes."""
    parser.add_argument(
        "-k", type=at_least_1, default=10, metavar="K", help="number of images to find (default: %(default)s)"
    )
    parser.add_argument(
        "--filter",
        metavar="CONDITION",
        help="only images that match an SQL condition on the columns, such as \"label in ('shoe', 'boot') and "
        'price < 50"',
    )
