"""The columns of a table's file under our names, text trimmed and paths written in one way."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from metricforge.datasets.tables.left_out import first_names
from metricforge.datasets.tables.name_pattern import check_pattern, read_names
from metricforge.datasets.tables.path_template import fill_template, template_columns
from metricforge.datasets.tables.table_options import BOX, KNOWN, NEEDED, TableOptions
from metricforge.datasets.tables.text_table import SUFFIXES, open_text_table
from metricforge.errors import DatasetError

_WITH_NUMBERS = ("label", "group", "camera")
_IN_SHARD = r"\.tar@\d+\+\d+/"  # after it stands what the tar file calls the image
_EXTENSION = re.compile(r"\.\w{1,5}$")


@dataclass(frozen=True)
class _Source:
    """Where each wanted column is: our name, or one that a template needs -> its name or number in the file."""

    header: Sequence[str]
    place: Mapping[str, int]


def read_columns(file: Path, options: TableOptions, root: Path | None) -> dict[str, pa.ChunkedArray]:
    """The columns of ``file`` that we know (N,), text as large strings; ``path`` and ``label`` are among them.

    Raises:
        DatasetError: for a file that is absent or no table, or a missing column or path.
        ValueError: for a template or pattern that cannot be read.
    """
    pattern = None if options.pattern is None else check_pattern(options.pattern)
    if not file.is_file():
        raise DatasetError(
            f"the table {file} does not exist; expected: a .parquet, {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file "
            "with the columns path and label, and optionally split, role, group, camera, left, top, right, bottom"
        )
    if file.suffix.lower() not in (".parquet", *SUFFIXES):
        raise DatasetError(f"{file} must end in .parquet, {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    try:
        raw = _read_parquet(file, options) if file.suffix.lower() == ".parquet" else _read_text(file, options)
    except (pa.ArrowException, OSError, UnicodeError) as fault:
        raise DatasetError(f"{file} cannot be read as a table ({fault}); repair or replace it") from fault
    columns = {name: raw[name] for name in KNOWN if name in raw and name != "path"}
    if options.path_template is None:
        paths = raw["path"]
    else:
        paths = fill_template(options.path_template, lambda name: raw[f"{{{name}}}"].cast(pa.large_string()))
    columns = {"path": _paths(file, paths, options.extension, root), **columns}
    if not len(columns["path"]):
        raise DatasetError(f"{file} has no row")
    if pattern is not None:
        columns |= read_names(pattern, columns["path"].to_pylist())
    _refuse_header_among_rows(file, columns["path"], options)
    return columns


def _read_text(file: Path, options: TableOptions) -> dict[str, pa.ChunkedArray]:
    needed = [str(options.columns.get(name, name)) for name in _needed(options)]
    table = open_text_table(file, options.delimiter, not options.by_number, needed)
    source = _find(file, table.header, options)
    read = table.read(list(source.place.values()))
    columns = {ours: read[str(number)] for ours, number in source.place.items()}
    for name, column in columns.items():
        # a blank after a label stays: "a" and "a " are two labels, which the doctor tells
        trim = pc.utf8_ltrim_whitespace if name in _WITH_NUMBERS else pc.utf8_trim_whitespace
        columns[name] = trim(column)
        if name in BOX:
            columns[name] = pc.if_else(pc.equal(columns[name], ""), pa.scalar(None, pa.large_string()), columns[name])
    return columns


def _read_parquet(file: Path, options: TableOptions) -> dict[str, pa.ChunkedArray]:
    header = parquet.read_schema(file).names
    source = _find(file, header, options)
    read = parquet.read_table(file, columns=[header[number] for number in source.place.values()])
    return {ours: _plain(ours, read[header[number]], file) for ours, number in source.place.items()}


def _needed(options: TableOptions) -> list[str]:
    """Our names of the columns without which nothing can be read."""
    given = {"path": options.path_template, "label": options.pattern}
    return [name for name in NEEDED if given[name] is None]


def _find(file: Path, header: Sequence[str], options: TableOptions) -> _Source:
    """Where our columns are, by name (first exactly, then whatever the case) or by number."""
    called: dict[str, str | int] = {name: options.columns.get(name, name) for name in KNOWN}
    wanted = [*_needed(options), *options.columns]
    if options.by_number:
        called = dict(options.columns)
    for name in template_columns(options.path_template) if options.path_template is not None else ():
        called[f"{{{name}}}"] = int(name) if options.by_number else options.columns.get(name, name)
        wanted.append(f"{{{name}}}")
    place = {ours: number for ours, theirs in called.items() if (number := _number(file, header, theirs)) is not None}
    absent = [called.get(name, name) for name in dict.fromkeys(wanted) if name not in place]
    if absent:
        told = f"it has {first_names(list(header), 12)}" if any(header) else f"its {len(header)} columns count from 0"
        raise DatasetError(
            f"{file} has no column {' and no '.join(map(repr, absent))}; {told}; name those that are called "
            'otherwise: columns=dict(path="file", label="product_id"), or by number where there is no header: '
            "columns=dict(path=0, label=1)"
        )
    return _Source(header, place)


def _number(file: Path, header: Sequence[str], called: str | int) -> int | None:
    if isinstance(called, int):
        return called if called < len(header) else None
    for fold in (str, str.casefold):
        places = [number for number, name in enumerate(header) if fold(name.strip()) == fold(called.strip())]
        if len(places) > 1:
            raise DatasetError(f"{file} has {len(places)} columns called {called!r}; keep one, or give it another name")
        if places:
            return places[0]
    return None


def _plain(name: str, column: pa.ChunkedArray, file: Path) -> pa.ChunkedArray:
    """A Parquet ``column`` without dictionary encoding, text of one type, whole numbers whatever held them."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if name in BOX:
        return column
    if pa.types.is_null(kind) or (name.startswith("is_") and pa.types.is_boolean(kind)):
        return column.cast(pa.large_string())
    numbers = name in _WITH_NUMBERS or name.startswith("{") or name.startswith("is_")
    if pa.types.is_floating(kind) and numbers:
        # as pandas writes whole numbers of which some are missing
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        if pc.all(pc.equal(pc.floor(column), column)).as_py() is not False:
            column = column.cast(pa.int64())
            kind = column.type
    if numbers and pa.types.is_integer(kind):
        return column.cast(pa.large_string()) if name.startswith("is_") else column
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        also = " or whole numbers" if name in _WITH_NUMBERS else ""
        raise DatasetError(f"{file}: column {name} must hold text{also}, it holds {kind}")
    return column.cast(pa.large_string())


def _paths(file: Path, paths: pa.ChunkedArray, extension: str | None, root: Path | None) -> pa.ChunkedArray:
    """``paths`` written in one way: ``./img//a.jpg`` and ``img/a.jpg`` are one file, and so is ``img\\a.jpg``."""
    if isinstance(paths, pa.Array):
        paths = pa.chunked_array([paths])
    if not pa.types.is_large_string(paths.type):
        paths = paths.cast(pa.large_string())
    paths = pc.utf8_trim_whitespace(paths)
    empty = pc.fill_null(pc.equal(paths, ""), True).to_numpy()
    if empty.any():
        rows = np.flatnonzero(empty)
        raise DatasetError(
            f"{file}: {len(rows):,} of {len(empty):,} rows have no path (rows "
            f"{first_names([str(row + 1) for row in rows[:6]])}); fill them in, or remove these rows"
        )
    windows = pc.and_(pc.match_substring(paths, "\\"), pc.invert(pc.match_substring(paths, "/")))
    if pc.any(windows).as_py():
        paths = pc.if_else(windows, pc.replace_substring(paths, "\\", "/"), paths)
    odd = pc.match_substring_regex(paths, r"^\./|/\.{0,2}/|//")
    odd = pc.and_(odd, pc.invert(pc.match_substring_regex(paths, _IN_SHARD)))
    if pc.any(odd).as_py():
        plain = pc.replace_substring_regex(
            pc.replace_substring_regex(paths, r"(^|/)(\./+)+", r"\1"), r"([^:])/{2,}", r"\1/"
        )
        upwards = pc.and_(odd, pc.match_substring(plain, "/../")).to_numpy()
        if upwards.any():
            texts = plain.to_pylist()
            for row in np.flatnonzero(upwards).tolist():
                texts[row] = posixpath.normpath(texts[row])
            plain = pa.chunked_array([texts], pa.large_string())
        paths = pc.if_else(odd, plain, paths)
    if root is not None:
        below = f"{root.as_posix().rstrip('/')}/"
        inside = pc.starts_with(paths, below)
        if pc.any(inside).as_py():
            paths = pc.if_else(inside, pc.utf8_slice_codeunits(paths, len(below)), paths)
    if extension is not None:
        extension = extension if extension.startswith(".") else f".{extension}"
        has_it = pc.ends_with(pc.utf8_lower(paths), extension.lower())
        paths = pc.if_else(
            has_it,
            paths,
            pc.binary_join_element_wise(paths, *(pa.scalar(text, pa.large_string()) for text in (extension, ""))),
        )
    return paths


def _refuse_header_among_rows(file: Path, paths: pa.ChunkedArray, options: TableOptions) -> None:
    """Columns told by number have no header; a first row whose path is none where the second's is one gives it away."""
    if not options.by_number or options.extension is not None or len(paths) < 2:
        return
    first, second = paths[0].as_py(), paths[1].as_py()
    if not _EXTENSION.search(first) and _EXTENSION.search(second):
        raise DatasetError(
            f"{file}: its first row ({first}) looks like a header, and columns by number are for tables without one; "
            f'name them by it: columns=dict(path="{first}", ...)'
        )
