"""``metricforge data list | prepare``: the published benchmarks, from their archives to what trains on them."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from metricforge.preparation import BENCHMARKS, prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands and their arguments."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--data-dir", metavar="FOLDER", type=Path, default=Path("data"), help="where data sets lie (default: data)"
    )
    commands = parser.add_subparsers(dest="data_command", required=True)

    listing = commands.add_parser("list", parents=[where], help="what can be prepared, and what is there")
    listing.set_defaults(run=list_benchmarks)

    preparing = commands.add_parser("prepare", parents=[where], help="download, check and unpack a benchmark")
    preparing.add_argument("name", choices=sorted(BENCHMARKS), help="which one; `metricforge data list` describes them")
    preparing.add_argument(
        "--from",
        dest="sources",
        metavar="ARCHIVE",
        type=Path,
        action="append",
        default=[],
        help="a file that you have already, instead of downloading it; may be repeated",
    )
    preparing.add_argument(
        "--unofficial",
        action="store_true",
        help="take the --from files as they are: neither checksums nor the numbers of images must be official",
    )
    preparing.set_defaults(run=prepare_benchmark)


def list_benchmarks(arguments: argparse.Namespace) -> None:
    """Prints a table of the benchmarks."""
    console = Console()
    table = Table("name", "data set", "images", "to download", "here")
    for benchmark in BENCHMARKS.values():
        folder = arguments.data_dir / benchmark.folder
        by_hand = not all(archive.urls for archive in benchmark.archives)
        table.add_row(
            benchmark.name,
            benchmark.title,
            f"{benchmark.images:,}",
            f"{benchmark.gigabytes} GB{', by hand' if by_hand else ''}",
            f"[green]{folder}[/]" if folder.is_dir() else "no",
        )
    console.print(table)
    console.print("metricforge data prepare NAME gets one; your own images need no preparation:")
    console.print("metricforge data check FOLDER looks through them", highlight=False)


def prepare_benchmark(arguments: argparse.Namespace) -> None:
    """Prepares the benchmark and says what to train with."""
    console = Console()
    benchmark = BENCHMARKS[arguments.name]
    target = arguments.data_dir / benchmark.folder
    there = target.exists()
    for split in prepare(
        benchmark, arguments.data_dir, arguments.sources, unofficial=arguments.unofficial, console=console
    ):
        console.print(split.describe(), highlight=False)
    unchecked = " ".join(f"{part}_dataloader.dataset.check_counts=False" for part in ("train", "test"))
    options = f" --cfg-options data_root={target}{f' {unchecked}' if arguments.unofficial else ''}"
    lines = [
        f"\n{target} {'was there already and is whole' if there else 'is ready'}. Its terms of use: {benchmark.home}",
        "Try next:",
        f"  python tools/train.py {benchmark.config}{options}",
        f"  metricforge data check {target if arguments.unofficial else benchmark.name}",
    ]
    downloads = arguments.data_dir / ".downloads"
    if not there and downloads.is_dir():
        lines.append(f"The downloaded archives are kept in {downloads}; remove them if you need the room.")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
