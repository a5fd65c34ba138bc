"""``metricforge data list | prepare | index``: the published benchmarks, and the index of shards."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.table import Table
from rich.text import Text

from metricforge.cli.console import open_console
from metricforge.cli.next_command import next_command
from metricforge.overrides import format_override
from metricforge.preparation import BENCHMARKS, expand_shards, index_shards, prepare
from metricforge.progress_bars import progress_bar


def list_benchmarks(arguments: argparse.Namespace) -> None:
    """Print a table of the benchmarks."""
    console = open_console()
    table = Table("name", "data set", "images", "to download", "here")
    for benchmark in BENCHMARKS.values():
        folder = arguments.data_dir / benchmark.folder
        by_hand = not all(archive.urls for archive in benchmark.archives)
        table.add_row(
            benchmark.name,
            benchmark.title,
            f"{benchmark.images:,}",
            f"{benchmark.gigabytes} GB{', by hand' if by_hand else ''}",
            Text(str(folder), style="green") if folder.is_dir() else "no",
        )
    console.print(table)
    console.print("metricforge data prepare NAME gets one; your own images need no preparation:")
    console.print("metricforge data check FOLDER looks through them", highlight=False)


def prepare_benchmark(arguments: argparse.Namespace) -> None:
    """Prepare the benchmark, and print how to train on it."""
    console = open_console()
    benchmark = BENCHMARKS[arguments.name]
    target = arguments.data_dir / benchmark.folder
    there = target.exists()
    for split in prepare(
        benchmark, arguments.data_dir, arguments.sources, unofficial=arguments.unofficial, console=console
    ):
        console.print(split.describe(), highlight=False)
    options = [format_override("data_root", str(target))]
    if arguments.unofficial:
        options += [f"{part}_dataloader.dataset.check_counts=False" for part in ("train", "test")]
    checks = ["data", "check", benchmark.name, *(["--unofficial"] if arguments.unofficial else [])]
    checks += ["--data-dir", arguments.data_dir] if arguments.data_dir != Path("data") else []
    lines = [
        f"\n{target} {'was there already and is whole' if there else 'is ready'}. Its terms of use: {benchmark.home}",
        "Try next:",
        f"  {next_command('train', Path(benchmark.config).stem, '--cfg-options', *options)}",
        f"  {next_command(*checks)}",
    ]
    downloads = arguments.data_dir / ".downloads"
    if not there and downloads.is_dir():
        lines.append(f"The downloaded archives are kept in {downloads}; remove them if you need the room.")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def index(arguments: argparse.Namespace) -> None:
    """Write the index, and print how to train on it."""
    console = open_console()
    shards = expand_shards(arguments.shards)
    with progress_bar(console, "reading shards", len(shards)) as advance:
        made = index_shards(
            shards,
            arguments.out,
            arguments.json_key,
            lambda: advance(1),
            folder_labels=arguments.folder_labels,
            skip_incomplete=arguments.skip_incomplete,
        )
    left_out = f"; {made.left_out:,} samples without image or class are left out" if made.left_out else ""
    lines = [
        f"{arguments.out}: {made.images:,} images of {made.classes:,} classes in {len(shards):,} "
        f"shard{'s' if len(shards) > 1 else ''}{left_out}",
        f"{next_command('data', 'check', arguments.out)} looks through them",
        "A config trains on it with",
        f'  dataset=dict(type="ShardDataset", table="{arguments.out}", split="train", transform=[...])',
    ]
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
