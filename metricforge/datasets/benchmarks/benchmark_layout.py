"""What the readers of the benchmarks' official layouts share: which split, whether it is there, whether it is whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from metricforge.errors import DatasetError


def check_split(split: str) -> None:
    """Raise ValueError unless the papers have the ``split``."""
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')


def absence(benchmark: str, folder: Path, fault: str, expected: str, way_out: str) -> DatasetError:
    """The error that says where ``benchmark`` was looked for, what was expected there, and how to get it.

    Args:
        benchmark: its name.
        folder: where it was looked for.
        fault: what is wrong with the folder, "lacks images.txt"; not said of one that does not exist.
        expected: what the folder holds.
        way_out: the command that gets it, and further lines, each indented by two spaces.
    """
    found = fault if folder.is_dir() else "does not exist"
    return DatasetError(
        f"{benchmark} was looked for in {folder}, which {found}.\n"
        f"  expected there: {expected}\n"
        f"  to get it: {way_out}\n"
        "  if you have it elsewhere: --cfg-options data_root=FOLDER"
    )


def check_counts(
    benchmark: str, source: Path, split: str, found: tuple[int, int], official: tuple[int, int], again: str
) -> None:
    """Raise DatasetError unless ``found`` (classes, images), which ``source`` lists, is ``official``.

    Args:
        benchmark: its name.
        source: the list file or folder that was counted.
        split: which part of it.
        found: classes and images.
        official: what they must be.
        again: what to unpack again.
    """
    if found != official:
        raise DatasetError(
            f"{source} lists {found[1]:,} images of {found[0]:,} {split} classes; {benchmark} has {official[1]:,} of "
            f"{official[0]:,}{_difference(found, official)}; {again}, or set check_counts=False to use a part"
        )


def _difference(found: tuple[int, int], official: tuple[int, int]) -> str:
    parts = []
    for here, right, what in zip(found, official, ("classes", "images"), strict=True):
        if here != right:
            parts.append(f"{abs(right - here):,} {what} {'are missing' if here < right else 'are too many'}")
    return f": {' and '.join(parts)}"


def read_lines(source: Path, again: str) -> list[str]:
    """The lines of the list file ``source``; DatasetError, with what to unpack ``again``, if it is no text."""
    try:
        return source.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as fault:
        raise DatasetError(f"{source} is not text ({fault}), so it is damaged or is another file; {again}") from fault


def read_rows(
    source: Path,
    lines: Sequence[str],
    *,
    header: int,
    columns: int,
    expected: str,
    is_valid: Callable[[Sequence[str]], bool],
    key: int,
    again: str,
) -> list[list[str]]:
    """Split each of ``lines`` behind the first ``header`` ones into its fields; blank lines are skipped.

    Args:
        source: the list file that they are from.
        lines: of the whole file.
        header: how many lines at the start are no rows.
        columns: how many fields a line has; the last may hold spaces.
        expected: the fields in words.
        is_valid: whether so many fields are what is expected.
        key: which field may not come twice.
        again: what to unpack again.

    Raises:
        DatasetError: naming the line, for one that is not as expected or has a key that came before.
    """
    rows: list[list[str]] = []
    seen: set[str] = set()
    for number, line in enumerate(lines[header:], start=header + 1):
        if not line.strip():
            continue
        fields = line.strip().split(maxsplit=columns - 1)
        if len(fields) != columns or not is_valid(fields):
            raise DatasetError(f"{source}, line {number}: expected {expected}, got {line!r}; {again}")
        if fields[key] in seen:
            raise DatasetError(f"{source}, line {number}: lists {fields[key]} a second time; {again}")
        seen.add(fields[key])
        rows.append(fields)
    return rows


def refuse_repeated(files: Sequence[str], source: Path, again: str) -> None:
    """Raise DatasetError, naming it, if ``source`` lists an image of ``files`` twice."""
    if len(set(files)) == len(files):
        return
    seen: set[str] = set()
    twice = next(file for file in files if file in seen or seen.add(file))  # type: ignore[func-returns-value]
    raise DatasetError(f"{source} lists {twice} a second time; {again}")


def check_files(root: Path, files: Sequence[str], listed_by: str, again: str) -> None:
    """Raise DatasetError, naming some, unless all ``files`` exist under ``root``."""
    missing = [file for file in files if not (root / file).is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing):,} of {len(files):,} images that {listed_by} lists are missing from {root}, "
            f"such as {', '.join(missing[:3])}; {again}"
        )
