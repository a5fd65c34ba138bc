"""Prepare a benchmark: from its archives to a complete folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from metricforge.datasets import ImageFileDataset
from metricforge.disk_errors import FULL
from metricforge.errors import DatasetError
from metricforge.preparation.benchmarks import Archive, Benchmark
from metricforge.preparation.fetch import fetch_archive, file_md5
from metricforge.preparation.unpack import unpack

DOWNLOADS = ".downloads"


def prepare(
    benchmark: Benchmark,
    data_dir: Path,
    sources: Sequence[Path] = (),
    *,
    unofficial: bool = False,
    console: Console,
) -> list[ImageFileDataset]:
    """Make ``data_dir / benchmark.folder`` and return its train and test split; check it if it is already there.

    Archives are unpacked into a hidden folder beside it, read with the benchmark's reader, and only then renamed, so
    that a folder of the benchmark's name is always complete. A failure leaves nothing behind but downloads.

    Args:
        benchmark: what to prepare.
        data_dir: created if it does not exist.
        sources: local files to unpack; an archive whose name is not among them is downloaded, unless ``unofficial``.
        unofficial: take ``sources`` as they are: neither checksums nor the numbers of images must be official.
        console: shows the progress.

    Raises:
        DatasetError: for a source that is absent or not the official file, an archive that cannot be downloaded or
            unpacked, a disk that is full or cannot be written, contents that are not the benchmark's, or an existing
            folder that is incomplete.
    """
    target = data_dir / benchmark.folder
    if target.exists():
        return _check_existing(benchmark, target, unofficial)
    _check_sources(benchmark, sources, unofficial)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise DatasetError(_unwritable(data_dir, fault)) from fault
    unfinished = data_dir / f".{benchmark.folder}.unfinished"
    try:
        with FileLock(data_dir / f".{benchmark.folder}.lock", timeout=0):
            if unfinished.exists():  # a run that was killed left it
                shutil.rmtree(unfinished)
            try:
                archives = _gather(benchmark, data_dir, sources, unofficial, console)
                _check_room(archives, data_dir)
                unfinished.mkdir()
                for archive in archives:
                    unpack(archive, unfinished, console)
                root = unfinished / benchmark.top
                with console.status("reading what was unpacked"):
                    _read(benchmark, root, unofficial, archives)
                root.rename(target)
            except OSError as fault:
                full = fault.errno in FULL
                raise DatasetError(_full(data_dir) if full else _unwritable(data_dir, fault)) from fault
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except Timeout as fault:
        raise DatasetError(f"another command is preparing {benchmark.name} in {data_dir}; wait for it") from fault
    except PermissionError as fault:  # of the lock
        raise DatasetError(_unwritable(data_dir, fault)) from fault
    return benchmark.splits(target, not unofficial)


def _check_existing(benchmark: Benchmark, target: Path, unofficial: bool) -> list[ImageFileDataset]:
    try:
        return benchmark.splits(target, not unofficial)
    except DatasetError as fault:
        raise DatasetError(
            f"{target} already exists and is incomplete; remove it or move it away, then prepare {benchmark.name} "
            f"again.\n  {fault}"
        ) from fault


def _check_sources(benchmark: Benchmark, sources: Sequence[Path], unofficial: bool) -> None:
    official = {archive.name: archive for archive in benchmark.archives}
    for source in sources:
        if not source.is_file():
            raise DatasetError(f"--from {source}: there is no such file")
        if unofficial:
            continue
        archive = official.get(source.name)
        if archive is None:
            raise DatasetError(
                f"--from {source}: {benchmark.title} comes in {', '.join(official)}; rename the file if it is one of "
                "them, or add --unofficial to take it as it is"
            )
        if archive.md5 is not None and (found := file_md5(source)) != archive.md5:
            raise DatasetError(
                f"--from {source}: is not the official {archive.name} (MD5 {found}, not {archive.md5}): cut off, or "
                "packed by somebody else; fetch it again, or add --unofficial to take it as it is"
            )


def _gather(
    benchmark: Benchmark, data_dir: Path, sources: Sequence[Path], unofficial: bool, console: Console
) -> list[Path]:
    """All archives, local or downloaded."""
    if unofficial and sources:
        return list(sources)
    at_hand = {source.name: source for source in sources}
    lacking = [a for a in benchmark.archives if a.name not in at_hand and not a.urls and not _fetched(a, data_dir)]
    if lacking:
        options = " ".join(f"--from {archive.name}" for archive in benchmark.archives)
        raise DatasetError(
            f"{benchmark.title} is distributed by its authors only: get {' and '.join(a.name for a in lacking)} from "
            f"{benchmark.home} and then\n  metricforge data prepare {benchmark.name} {options}"
        )
    return [
        at_hand.get(archive.name) or fetch_archive(archive, data_dir / DOWNLOADS, console)
        for archive in benchmark.archives
    ]


def _fetched(archive: Archive, data_dir: Path) -> bool:
    return (data_dir / DOWNLOADS / archive.name).is_file()


def _check_room(archives: Sequence[Path], data_dir: Path) -> None:
    needed = sum(archive.stat().st_size for archive in archives)  # images are already compressed
    if shutil.disk_usage(data_dir).free < needed:
        raise DatasetError(_full(data_dir, f" to unpack {needed / 1e9:.1f} GB"))


def _unwritable(data_dir: Path, fault: OSError) -> str:
    return f"{data_dir} cannot be written to ({fault}); name another folder: --data-dir FOLDER. Nothing was left behind"


def _full(data_dir: Path, task: str = "") -> str:
    free = shutil.disk_usage(data_dir).free / 1e9
    return (
        f"the disk of {data_dir} is too full{task} ({free:.1f} GB are free); free some space, or name another disk: "
        "--data-dir FOLDER. Nothing was left behind but complete downloads"
    )


def _read(benchmark: Benchmark, root: Path, unofficial: bool, archives: Sequence[Path]) -> None:
    named = ", ".join(str(archive) for archive in archives)
    if not root.is_dir():
        raise DatasetError(f"{named} holds no folder {benchmark.top}, so it is not {benchmark.title}; nothing was kept")
    try:
        benchmark.splits(root, not unofficial)
    except DatasetError as fault:
        raise DatasetError(f"{named} is not the complete {benchmark.title}; nothing was kept.\n  {fault}") from fault
