"""``metricforge reproduce TABLE``: runs or resumes the rows of a paper's table, and prints its figures beside ours."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from metricforge.cli.console import open_console
from metricforge.cli.stopped import said_of, status_after
from metricforge.config_files import core_configs
from metricforge.errors import CheckpointError, ConfigError, DatasetError, MetricForgeError, TrainingStopped
from metricforge.reproduction import (
    PaperTable,
    RowRun,
    marked_names,
    missing_data,
    missing_trees,
    missing_weights,
    notes_of,
    print_comparison,
    print_notes,
    read_tables,
)
from metricforge.runner import build_runner
from metricforge.spelling import nearest


def reproduce(arguments: argparse.Namespace) -> None:
    """Run what is not yet finished, one row after the other, and end with the comparison.

    A row that fails does not keep the others from running; the command then ends with an error that says which.
    """
    console = open_console()
    if arguments.reduced not in (None, "glyphs") and not Path(arguments.reduced).is_dir():
        raise ConfigError([f"--reduced {arguments.reduced}: is neither glyphs nor a folder that exists"], "the command")
    tables = read_tables(arguments.tables or core_configs() / "tables.yaml", arguments.reduced)
    if arguments.list or arguments.table is None:
        return _list_tables(console, tables)
    if arguments.table not in tables:
        raise ConfigError(
            [f"{arguments.table}: there is no such table{nearest(arguments.table, list(tables))}"], "the command"
        )
    table = tables[arguments.table]
    table = table.only(arguments.only) if arguments.only else table
    runs = [
        RowRun(row.config, {**row.options, **(arguments.cfg_options or {})}, Path(arguments.work_dir), arguments.seed)
        for row in table.rows
    ]
    for row, run in zip(table.rows, runs, strict=True):
        run.require_baseline(row.baseline)
    # two rows may be two ways to score one run
    pending = list({run.folder: run for run in runs if not run.finished}.values())
    with console.status("looking for the data, the weights and the class trees"):
        missing = {
            "data": missing_data(pending),
            "weights": missing_weights(pending),
            "class tree": missing_trees(pending),
        }
    if arguments.dry_run:
        return _print_plan(console, table, runs, missing)
    if any(missing.values()):
        raise (CheckpointError if missing["weights"] and not missing["data"] else DatasetError)(
            _missing(table, runs, missing)
        )
    failed = _run(console, arguments, pending)
    print_comparison(
        console,
        table,
        [run.scores(row.baseline) for row, run in zip(table.rows, runs, strict=True)],
        [notes_of(row, run) for row, run in zip(table.rows, runs, strict=True)],
    )
    if failed:
        said = "".join(f"\n  - {run.command}\n    {error}" for run, error in failed.items())
        raise MetricForgeError(f"{_count(len(failed), 'run')} of {len(pending)} failed:{said}")
    return None


def _run(console: Console, arguments: argparse.Namespace, pending: list[RowRun]) -> dict[RowRun, str]:
    failed = {}
    for number, run in enumerate(pending, start=1):
        console.rule(Text(f"{number}/{len(pending)}  {run.folder.name}"), align="left")
        try:
            runner = build_runner(
                run.config,
                overrides=run.options,
                work_dir=run.folder,
                resume=run.started,
                device=arguments.device,
                console=console,
            )
            runner.describe()
            runner.train()
            if not run.finished:
                failed[run] = "ended without a test; train_cfg.val_interval must not be 0"
        except TrainingStopped as stop:
            print(f"{stop}; the same command goes on with what is not finished", file=sys.stderr)
            sys.exit(stop.exit_code)
        except MetricForgeError as error:
            console.print(f"failed: {error}", style="red", highlight=False, soft_wrap=True)
            failed[run] = str(error)
        except KeyboardInterrupt as end:
            print(f"\n{said_of(end)}; the same command goes on with what is not finished", file=sys.stderr)
            sys.exit(status_after(end))
    return failed


def _list_tables(console: Console, tables: dict[str, PaperTable]) -> None:
    width = max(map(len, tables))
    for table in tables.values():
        console.print(f"{table.name:{width}}  {table.title}", highlight=False, markup=False, soft_wrap=True)


def _print_plan(
    console: Console, table: PaperTable, runs: list[RowRun], missing: dict[str, dict[str, list[RowRun]]]
) -> None:
    console.print(Text(table.title, style="bold"))
    lacking = {what: {run.folder for needing in found.values() for run in needing} for what, found in missing.items()}
    notes = [notes_of(row, run) for row, run in zip(table.rows, runs, strict=True)]
    for name, run in zip(marked_names(table, notes), runs, strict=True):
        lacks = [f"{what} missing" for what, folders in lacking.items() if run.folder in folders]
        state = ", ".join([run.state, *lacks])
        console.print(f"  {name}  [{state}]\n      {run.command}", highlight=False, markup=False, soft_wrap=True)
    print_notes(console, table, notes)
    for found in missing.values():
        for message in found:
            console.print(f"\n{message}", highlight=False, markup=False, soft_wrap=True)


def _missing(table: PaperTable, runs: list[RowRun], missing: dict[str, dict[str, list[RowRun]]]) -> str:
    """One paragraph a data set or a file of weights, and which rows could run without."""
    paragraphs = []
    lacking = set()
    for found in missing.values():
        for message, needing in found.items():
            folders = {run.folder for run in needing}
            lacking |= folders
            names = [row.name for row, run in zip(table.rows, runs, strict=True) if run.folder in folders]
            paragraphs.append(f"{message}\n  needed by: {'; '.join(names)}")
    others = [row.name for row, run in zip(table.rows, runs, strict=True) if run.folder not in lacking]
    what = " and ".join(
        _count(len(found), unit)
        for unit, found in zip(("data set", "weights file", "class tree"), missing.values(), strict=True)
        if found
    )
    text = f"{what} {'is' if len(paragraphs) == 1 else 'are'} missing, so nothing was run.\n\n" + "\n\n".join(
        paragraphs
    )
    if others:
        text += f"\n\nThese rows have what they need, choose them with --only: {'; '.join(others)}"
    return text


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
