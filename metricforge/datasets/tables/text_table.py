"""Tables in text files as people have them: any delimiter, with or without a header, blanks after commas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv

from metricforge.errors import DatasetError

SUFFIXES = (".csv", ".tsv", ".txt", ".lst")
BLANKS = " "  # any number of blanks and tabs between two columns
_SAMPLE = 2**16  # bytes by which a table's form is judged
_LINES = 50
_CANDIDATES = {".csv": ",;\t|", ".tsv": "\t", ".txt": "\t;,| ", ".lst": "\t;,| "}


@dataclass(frozen=True)
class TextTable:
    """A text file whose form is known: ``header`` has its columns' names, or as many empty ones where it has none."""

    file: Path
    delimiter: str
    header: tuple[str, ...]
    first_row: int  # how many lines come before it
    encoding: str
    quotes_after_blanks: bool  # which Arrow would take for part of the text

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self.header)

    def read(self, columns: Sequence[int]) -> pa.Table:
        """The columns of these numbers as text, named by their number.

        Raises:
            pa.ArrowInvalid: for rows of unlike length, or bytes that are no text.
        """
        if self.quotes_after_blanks:
            return self._read_by_python(columns)
        names = [str(number) for number in range(self.width)]
        wanted = [str(number) for number in dict.fromkeys(columns)]
        convert = arrow_csv.ConvertOptions(include_columns=wanted, column_types={n: pa.large_string() for n in wanted})
        reading = arrow_csv.ReadOptions(column_names=names, skip_rows=self.first_row)
        for newlines in (False, True):  # within quotes they cost time, so only where it does not go without
            parsing = arrow_csv.ParseOptions(
                delimiter="\t" if self.delimiter == BLANKS else self.delimiter, newlines_in_values=newlines
            )
            try:
                return arrow_csv.read_csv(self._content(), reading, parsing, convert)
            except pa.ArrowInvalid:
                if newlines:
                    raise
        raise AssertionError

    def _read_by_python(self, columns: Sequence[int]) -> pa.Table:
        with self.file.open(encoding=self.encoding, newline="") as opened:
            rows = [row for row in csv.reader(opened, delimiter=self.delimiter, skipinitialspace=True) if row]
        rows = rows[1:] if any(self.header) else rows
        for number, row in enumerate(rows):
            if len(row) != self.width:
                raise pa.ArrowInvalid(f"row {number + 1} has {len(row)} columns, where {self.width} were expected")
        return pa.table(
            {str(number): pa.chunked_array([[row[number] for row in rows]], pa.large_string()) for number in columns}
        )

    def _content(self) -> Path | io.BytesIO:
        if self.delimiter != BLANKS and self.encoding != "utf-16":
            return self.file
        text = self.file.read_text(encoding=self.encoding)
        if self.delimiter == BLANKS:
            text = "\n".join(re.sub(r"[ \t]+", "\t", line.strip()) for line in text.splitlines())
        return io.BytesIO(text.encode())


def open_text_table(file: Path, delimiter: str | None, has_header: bool, needed: Sequence[str]) -> TextTable:
    """Find out the form of ``file``.

    Args:
        file: ending in one of ``SUFFIXES``.
        delimiter: what stands between two columns; None: whichever gives all lines the same number of columns, and
            first of all one that gives the header the ``needed`` names.
        has_header: whether the first line names the columns.
        needed: names that the header should have.

    Raises:
        DatasetError: for a file without a row, or whose delimiter cannot be told.
        OSError: if it cannot be read.
    """
    lines, blank, encoding = _first_lines(file)
    if not lines:
        raise DatasetError(f"{file} has no row")
    given = delimiter
    if delimiter is None:
        delimiter = _delimiter(lines, _CANDIDATES[file.suffix.lower()], needed if has_header else ())
    if delimiter is None:
        raise DatasetError(
            f"{file}: no delimiter parts its lines into as many columns each; its first line is {lines[0][:80]!r}; "
            'correct the lines that differ, or name it: delimiter=";"'
        )
    cells = [cell.strip() for cell in _cells(lines[0], delimiter)]
    if given is not None and len(cells) < 2 and any(other in lines[0] for other in ",;\t|"):
        raise DatasetError(f"{file}: delimiter {given!r} is not in its first line, {lines[0][:80]!r}; leave it out")
    header = tuple(cells) if has_header else ("",) * len(cells)
    quoted = delimiter not in (BLANKS, "\t") and any(re.search(f'{re.escape(delimiter)} +"', line) for line in lines)
    return TextTable(file, delimiter, header, blank + 1 if has_header else blank, encoding, quoted)


def _first_lines(file: Path) -> tuple[list[str], int, str]:
    """The first lines that are not empty, how many empty ones come before them, and the encoding."""
    with file.open("rb") as opened:
        start = opened.read(_SAMPLE)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = start.decode(encoding, errors="replace")
    lines = text.splitlines()
    if len(start) == _SAMPLE and len(lines) > 1:
        lines.pop()  # cut off
    blank = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    return [line for line in lines if line.strip()][:_LINES], blank, encoding


def _delimiter(lines: Sequence[str], candidates: str, needed: Sequence[str]) -> str | None:
    widths = {mark: {len(_cells(line, mark)) for line in lines} for mark in candidates}
    if needed:
        wanted = {name.casefold() for name in needed}
        for mark in candidates:
            if wanted <= {cell.strip().casefold() for cell in _cells(lines[0], mark)}:
                return mark
    for mark in candidates:
        if len(widths[mark]) == 1 and widths[mark] != {1}:
            return mark
    if all(width == {1} for mark, width in widths.items() if mark != BLANKS):
        return candidates[0] if BLANKS not in candidates or widths[BLANKS] == {1} else None  # a single column
    # rows of unlike length under the usual delimiter: reading tells which
    return candidates[0] if len(_cells(lines[0], candidates[0])) > 1 else None


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == BLANKS:
        return line.split()
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=delimiter != "\t"), [""])
