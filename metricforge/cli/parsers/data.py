"""The arguments of ``metricforge data``."""

from __future__ import annotations

import argparse
from pathlib import Path

from metricforge.cli.parsers.cfg_options import Overrides
from metricforge.cli.parsers.values import file_to_write, fraction, named_path

# what metricforge.preparation.BENCHMARKS has; that module is slow to import
BENCHMARK_NAMES = ("cars196", "cub200", "inshop", "sop")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments to ``parser``."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--data-dir",
        metavar="FOLDER",
        type=named_path,
        default=Path("data"),
        help="folder of the data sets (default: data)",
    )
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="COMMAND", title="commands")
    purpose = "list the benchmarks and whether they are prepared"
    listing = commands.add_parser("list", parents=[where], help=purpose, description=f"{purpose.capitalize()}.")
    listing.set_defaults(run="metricforge.cli.data:list_benchmarks")
    _add_prepare(commands, where)
    _add_index(commands)
    _add_check(commands, where)


def _add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser], where: argparse.ArgumentParser) -> None:
    purpose = "download, verify and unpack a benchmark"
    parser = commands.add_parser("prepare", parents=[where], help=purpose, description=f"{purpose.capitalize()}.")
    parser.add_argument(
        "name",
        metavar="NAME",
        choices=BENCHMARK_NAMES,
        help=f"{', '.join(BENCHMARK_NAMES[:-1])} or {BENCHMARK_NAMES[-1]}",
    )
    parser.add_argument(
        "--from",
        dest="sources",
        metavar="ARCHIVE",
        type=named_path,
        action="append",
        default=[],
        help="use a file you already have instead of downloading it; may be repeated",
    )
    parser.add_argument(
        "--unofficial",
        action="store_true",
        help="accept --from files whose checksums or numbers of images differ from the official ones",
    )
    parser.set_defaults(run="metricforge.cli.data:prepare_benchmark")


def _add_index(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "index",
        help="index tar shards, for ShardDataset to train on",
        description="Read tar shards in WebDataset layout (17.jpg next to 17.cls or 17.json) once, and write an index "
        "of each image's class and position.",
    )
    parser.add_argument(
        "shards", nargs="+", metavar="SHARD", help="tar files: paths, or URLs that fsspec can read; * is expanded"
    )
    parser.add_argument(
        "--out", type=file_to_write, required=True, metavar="FILE", help="the index, ending in .parquet"
    )
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument(
        "--json-key", metavar="KEY", help="read the class from this key of the .json files; a.b means b inside a"
    )
    labels.add_argument(
        "--folder-labels", action="store_true", help="use the first folder in an image's name as its class"
    )
    parser.add_argument(
        "--skip-incomplete", action="store_true", help="skip images without a class and classes without an image"
    )
    parser.set_defaults(run="metricforge.cli.data:index")


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser], where: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "check",
        parents=[where],
        help="open every image: unreadable files, duplicates, wrong labels, leaks between splits",
        description="Open every image and report what would spoil training or flatter a score. "
        "Exits with 1 if something is wrong, with 0 if there are only notes.",
    )
    parser.add_argument(
        "what",
        metavar="NAME|FOLDER|TABLE",
        help="a prepared benchmark, a folder of one sub-folder per class, a table (.csv, .parquet, ...) or shard index",
    )
    parser.add_argument("--root", metavar="FOLDER", help="folder of a table's images, or of an index's shards")
    parser.add_argument(
        "--train-fraction",
        type=fraction,
        metavar="X",
        help="fraction of the classes used for training (default: the splits of the folder or table if it has any, "
        "else 0.5)",
    )
    parser.add_argument(
        "--train-classes", metavar="FILE", help="file with the names of the training classes, one per line"
    )
    parser.add_argument(
        "--tiny",
        type=int,
        default=32,
        metavar="N",
        help="report images whose shorter side is below N pixels (default: 32)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="number of threads (default: one per core)")
    parser.add_argument(
        "--unofficial",
        action="store_true",
        help="accept a benchmark whose numbers of images differ from the official ones",
    )
    parser.add_argument(
        "--out",
        type=named_path,
        metavar="FOLDER",
        help="where findings.csv and findings.png are written (default: data_check/NAME)",
    )
    _add_reading(
        parser.add_argument_group(
            "how to read the data", "the same as the arguments of ImageFolderDataset and TableDataset"
        )
    )
    parser.set_defaults(run="metricforge.cli.data_check:check")


def _add_reading(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--class-depth", type=int, metavar="N", help="level of the class folders: 1 for class/image, 2 for split/class"
    )
    group.add_argument(
        "--pattern",
        metavar="REGEX",
        help=r"regular expression that extracts label and camera from file names, such as "
        r"(?P<label>-?\d+)_c(?P<camera>\d+)",
    )
    group.add_argument(
        "--columns",
        nargs="+",
        action=Overrides,
        metavar="OURS=THEIRS",
        help="column names of the table: path=Image label=Id; without a header, column numbers: path=0 label=1",
    )
    group.add_argument("--delimiter", metavar="MARK", help="column delimiter (default: detected)")
    group.add_argument("--extension", metavar=".EXT", help="extension to append to the table's paths")
    group.add_argument(
        "--path-template", metavar="TEXT", help="template that builds paths from columns: {id[0]}/{id}.jpg"
    )
    group.add_argument("--drop-unlabelled", action="store_true", help="skip rows without a label")
    group.add_argument("--ignore-labels", nargs="+", default=[], metavar="LABEL", help="skip images with these labels")
