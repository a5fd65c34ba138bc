"""Findings as a table in the terminal and as a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metricforge.atomic_write import write_atomically
from metricforge.csv_cells import text_cell
from metricforge.doctor.collection import Collection
from metricforge.doctor.diagnose import Finding

EXAMPLES = 3


def print_findings(console: Console, collection: Collection, findings: Sequence[Finding]) -> None:
    """Print a row for each kind with its number of cases, then some cases of each."""
    table = Table("found", "cases", "what to do, or what is done")
    for finding in findings:
        colour = "red" if finding.wrong else "yellow"
        table.add_row(Text(finding.kind, style=colour), f"{len(finding.groups):,}", Text(finding.advice))
    console.print(table)
    for finding in findings:
        console.print(f"\n{finding.kind}", highlight=False, markup=False)
        for group, detail in list(zip(finding.groups, finding.details, strict=True))[:EXAMPLES]:
            files = " = ".join(collection.files[i] for i in group)
            told = f"  ({detail})" if detail else ""
            console.print(f"  {files}{told}", highlight=False, markup=False, soft_wrap=True)
        if len(finding.groups) > EXAMPLES:
            console.print(f"  and {len(finding.groups) - EXAMPLES:,} more", highlight=False, markup=False)


def write_findings(file: Path, collection: Collection, findings: Sequence[Finding]) -> None:
    """Write every case, a row an image, with a number that the images of one case share; then what was left out."""
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(["found", "wrong", "case", "path", "class", "split", "detail"])
    for finding in findings:
        for case, (group, detail) in enumerate(zip(finding.groups, finding.details, strict=True), start=1):
            for i in group:
                image = (collection.files[i], collection.class_of(i), collection.split_of(i))
                rows.writerow([finding.kind, "yes" if finding.wrong else "no", case, *map(text_cell, (*image, detail))])
    for left in collection.left_out:
        rows.writerows([f"left out: {left.reason}", "no", "", text_cell(name), "", "", ""] for name in left.names)
    write_atomically(file, table.getvalue())
