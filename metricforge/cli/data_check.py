"""``metricforge data check``: a look through any images, which are read as a data set reads them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from metricforge.cli.console import open_console
from metricforge.datasets.folders.folder_options import FolderOptions
from metricforge.datasets.tables.split_images import SplitRequest
from metricforge.datasets.tables.table_options import TableOptions
from metricforge.datasets.tables.text_table import SUFFIXES
from metricforge.doctor import (
    Collection,
    collection_of_folder,
    collection_of_splits,
    collection_of_table,
    diagnose,
    draw_contact_sheet,
    examine,
    print_findings,
    write_findings,
)
from metricforge.errors import DatasetError
from metricforge.preparation import BENCHMARKS
from metricforge.progress_bars import progress_bar


def check(arguments: argparse.Namespace) -> None:
    """Check the images, print the findings, and write all of them with a contact sheet."""
    console = open_console()
    with console.status("reading what is there"):
        try:
            collection = _collection(arguments)
        except ValueError as fault:  # of options that do not go together
            raise DatasetError(str(fault)) from fault
    for line in (collection.describe(), *collection.notes, *(left.describe() for left in collection.left_out)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    with progress_bar(console, "opening every image", len(collection)) as advance:
        workers = arguments.workers or len(os.sched_getaffinity(0))
        found = examine(collection, workers, advance)
    with console.status("comparing"):
        findings = diagnose(collection, found, arguments.tiny)
    if findings:
        print_findings(console, collection, findings)
    else:
        console.print("nothing is wrong with them")
    if not (findings or collection.left_out):
        return
    out = arguments.out or Path("data_check") / collection.name
    write_findings(out / "findings.csv", collection, findings)
    written = f"all of it is in {out / 'findings.csv'}"
    if any(finding.shown for finding in findings):
        draw_contact_sheet(out / "findings.png", collection, findings)
        written += f", pictures of it in {out / 'findings.png'}"
    console.print(f"\n{written}", highlight=False, markup=False, soft_wrap=True)
    if any(finding.wrong for finding in findings):
        sys.exit(1)


def _collection(arguments: argparse.Namespace) -> Collection:
    what = Path(arguments.what)
    if arguments.what in BENCHMARKS and not what.exists():
        benchmark = BENCHMARKS[arguments.what]
        return collection_of_splits(
            benchmark.splits(arguments.data_dir / benchmark.folder, check_counts=not arguments.unofficial)
        )
    request = SplitRequest("all", arguments.train_fraction, arguments.train_classes)
    if what.is_dir():
        folder_options = FolderOptions(
            arguments.class_depth, arguments.pattern, arguments.drop_unlabelled, arguments.ignore_labels
        )
        _refuse(arguments, "a folder", "root", "columns", "delimiter", "extension", "path_template")
        return collection_of_folder(what, folder_options, request)
    if what.suffix.lower() in (".parquet", *SUFFIXES):
        delimiter = {"\\t": "\t", "tab": "\t"}.get(arguments.delimiter, arguments.delimiter)
        table_options = TableOptions(
            arguments.columns or {},
            delimiter,
            arguments.extension,
            arguments.path_template,
            arguments.pattern,
            arguments.drop_unlabelled,
            arguments.ignore_labels,
        )
        _refuse(arguments, "a table", "class_depth")
        return collection_of_table(what, arguments.root, table_options, request)
    raise DatasetError(
        f"{what} is not a folder, a table ({', '.join(('.parquet', *SUFFIXES))}) or a benchmark "
        f"({', '.join(sorted(BENCHMARKS))})"
    )


def _refuse(arguments: argparse.Namespace, kind: str, *names: str) -> None:
    """Raise DatasetError for an option that ``kind`` has no use for."""
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name)]
    if given:
        raise DatasetError(f"{', '.join(given)}: does not apply to {arguments.what}, which is {kind}; leave it out")
