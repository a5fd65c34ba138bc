"""A collection of images to embed: a folder, a table, tar shards or a list, with the columns known for each image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from metricforge.arrays import Indices
from metricforge.datasets.folders.walk_images import walk_images
from metricforge.datasets.shards.shard_part import ShardPart
from metricforge.datasets.shards.shard_reader import ShardReader, is_remote
from metricforge.datasets.string_column import StringColumn
from metricforge.datasets.tables.image_table import is_empty
from metricforge.datasets.tables.left_out import LeftOut
from metricforge.datasets.tables.text_table import open_text_table
from metricforge.deployment.absolute_path import absolute_path
from metricforge.errors import DatasetError

TABLES = (".csv", ".tsv", ".txt", ".parquet")
EXPECTED = (
    "expected: a folder of images, a table with a column path (.csv, .tsv, .txt, .parquet; also an index that "
    "`metricforge data index SHARDS` wrote), or - for one path a line on the standard input"
)

_LISTS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Field], pa.DataType]], ...] = (
    (pa.types.is_list, pa.list_),
    (pa.types.is_large_list, pa.large_list),
    (pa.types.is_list_view, pa.list_view),
    (pa.types.is_large_list_view, pa.large_list_view),
)


class ImageCollection:
    """Images by index, each with its path and, if known, a label and further columns.

    Args:
        source: where they come from, for messages.
        root: the folder or URL that relative paths start from.
        paths: of the images (N,): files, parts of tar shards, or URLs.
        table: further columns (N rows), including ``label`` if there are labels.
        left_out: files that were left out, for messages.
    """

    def __init__(
        self, source: str, root: str, paths: StringColumn, table: pa.Table, left_out: Sequence[LeftOut] = ()
    ) -> None:
        if not len(paths):
            raise DatasetError(f"{source} has no images; {EXPECTED}")
        self.source = source
        self.root = root
        self.paths = paths
        self.table = table
        self.left_out = tuple(left_out)
        self._reader = ShardReader(root)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def labels(self) -> pa.ChunkedArray | None:
        """The label of each image (N,) as in the source; None without labels."""
        return self.table["label"] if "label" in self.table.column_names else None

    def location(self, index: int) -> str:
        """Where image ``index`` is stored: a path that opens from any folder, a URL, or a part of a tar shard."""
        return self._located(self.paths[index])

    def rows(self, indices: Sequence[int] | Indices) -> pa.Table:
        """The columns of the images ``indices`` (n,), each ``path`` as ``location`` gives it."""
        rows = self.table.take(pa.array(indices, pa.int64()))
        located = pa.array([self._located(self.paths[int(index)]) for index in indices], pa.large_string())
        return rows.set_column(rows.schema.get_field_index("path"), "path", located)

    def _located(self, path: str) -> str:
        part = ShardPart.parse(path)
        place = path if part is None else part.shard
        if is_remote(place):
            return path
        if is_remote(self.root):
            return f"{self.root.rstrip('/')}/{path}"
        if part is not None:  # behind the shard's path
            return os.path.join(self.root, path)  # noqa: PTH118
        return str(absolute_path(Path(self.root, path)))  # ./photo.jpg, as find prints it, is photo.jpg

    def image(self, index: int) -> str | bytes:
        """Image ``index`` as ``EmbeddingModel.embed`` takes it."""
        part = ShardPart.parse(self.paths[index])
        return self.location(index) if part is None else self._reader.read(part)


def open_collection(
    source: str | os.PathLike[str],
    *,
    glob: str | None = None,
    lines: Iterable[str] = (),
    lines_of: str = "the standard input",
) -> ImageCollection:
    """Open the images that ``source`` names, in the same order at every call.

    Args:
        source: a folder (images at any depth; if all of them are in sub-folders, the first sub-folder is the label), a
            table with a column ``path`` relative to the table's folder and any others, or "-".
        glob: of a folder, take only images whose path below it matches, such as "2024/*.jpg".
        lines: for "-", one path or URL per line.
        lines_of: where they come from, for messages.

    Raises:
        DatasetError: if ``source`` is none of these, or has no images.
    """
    if not str(source):
        raise DatasetError(f"the source of the images is empty; {EXPECTED}")
    path = Path(source).expanduser()
    if str(source) == "-":
        if glob is not None:
            raise DatasetError("--glob selects images of a folder, and - is a list of paths; leave --glob out")
        return _of_paths(lines_of, str(Path.cwd()), _paths_in(lines, lines_of))
    if path.is_dir():
        return _of_folder(absolute_path(path), glob)
    if path.is_file() and path.suffix.lower() in TABLES:
        if glob is not None:
            raise DatasetError(f"--glob {glob} selects images of a folder, and {source} is a table; leave --glob out")
        return _of_table(absolute_path(path))
    state = "is neither a folder nor a table" if path.exists() else "does not exist"
    raise DatasetError(f"{source} {state}; {EXPECTED}")


def _paths_in(lines: Iterable[str], source: str) -> list[str]:
    """The lines that are not blank; an error names the first that can be no path."""
    paths = []
    try:
        for line in lines:
            path = line.rstrip("\n").removeprefix("\ufeff")  # the mark that Windows puts before a text
            path.encode()  # fails for bytes that are not UTF-8 and were kept as they are
            if "\0" in path:
                raise DatasetError(f"{source} has a zero byte, which no path has; write one path a line, not -print0")
            if path.strip():
                paths.append(path)
    except UnicodeError as fault:
        after = f" after {paths[-1]}" if paths else ""
        raise DatasetError(
            f"{source} is not UTF-8{after}; rename these files, or name a folder, whose other images are used"
        ) from fault
    return paths


def _of_paths(source: str, root: str, paths: list[str]) -> ImageCollection:
    return ImageCollection(source, root, StringColumn(paths), pa.table({"path": paths}))


def _of_folder(folder: Path, glob: str | None) -> ImageCollection:
    walked = walk_images(folder)
    paths = walked.files
    if glob == "":
        raise DatasetError("--glob is empty and matches nothing; give a pattern such as '*.jpg', or leave --glob out")
    if glob is not None:
        found = [path for path in paths if PurePosixPath(path).match(glob)]
        if not found:
            raise DatasetError(f"none of the {len(paths):,} images in {folder} matches --glob {glob}")
        paths = found
    columns = {"path": pa.array(paths, type=pa.large_string())}
    if paths and all("/" in path for path in paths):
        columns["label"] = pa.array([path.partition("/")[0] for path in paths], type=pa.large_string())
    left_out = () if glob else walked.left_out
    return ImageCollection(str(folder), str(folder), StringColumn(columns["path"]), pa.table(columns), left_out)


def _of_table(file: Path) -> ImageCollection:
    try:
        table = parquet.read_table(file) if file.suffix.lower() == ".parquet" else _text_table(file)
    except (pa.ArrowException, OSError, UnicodeError) as fault:
        raise DatasetError(f"{file} cannot be read as a table ({fault}); repair or replace it") from fault
    if "path" not in table.column_names:
        raise DatasetError(f"{file} has no column path; it has {', '.join(table.column_names)}; {EXPECTED}")
    taken = [name for name in ("id", "vector") if name in table.column_names]
    if taken:
        raise DatasetError(
            f"{file} has a column {taken[0]}, a name that MetricForge uses itself; rename it, such as to "
            f"product_{taken[0]}"
        )
    empty = int(is_empty(table["path"].cast(pa.large_string())).sum())
    if empty:
        raise DatasetError(f"{file}: {empty:,} rows have no path; fill them in or remove them")
    table = _readable(file, table)
    if "label" in table.column_names:
        kind = table.schema.field("label").type
        if pa.types.is_nested(kind):
            raise DatasetError(
                f"{file}: column label is {kind}, and the label of an image is one value; rename the column, such as "
                "to labels, to take it along"
            )
        table = table.set_column(table.column_names.index("label"), "label", _labels(table["label"]))
    return ImageCollection(str(file), str(file.parent), StringColumn(table["path"]), table)


def _readable(file: Path, table: pa.Table) -> pa.Table:
    """``table`` in the types that rows are taken of, that a filter reads, and that become values of Python.

    Raises:
        DatasetError: for a column of a type that has no such equivalent.
    """
    for number, field in enumerate(table.schema):
        try:
            column = table.column(number).cast(_plain(field.type), safe=False)
            column.take(pa.array([0] if len(column) else [], pa.int64()))
            if pa.types.is_decimal256(field.type):
                raise pa.ArrowNotImplementedError("DuckDB reads decimals of 38 digits at most")
        except pa.ArrowNotImplementedError as fault:
            raise DatasetError(
                f"{file}: column {field.name} is {field.type}, which cannot be taken along; leave it out or convert it"
            ) from fault
        table = table.set_column(number, field.name, column)
    return table


def _plain(kind: pa.DataType) -> pa.DataType:
    """What a column of ``kind`` is kept as: plain texts and bytes, and times to the microsecond, as Python has them."""
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    times = {pa.time64("ns"): pa.time64("us"), pa.duration("ns"): pa.duration("us")}
    texts = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    if kind in times or kind in texts:
        return {**times, **texts}[kind]
    return _plain_within(kind)


def _plain_within(kind: pa.DataType) -> pa.DataType:
    """``kind`` with what it is made of as ``_plain`` has it."""
    if pa.types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field), kind.keys_sorted)
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)  # each part of a table has a dictionary of its own, and a file takes one
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    for is_kind, make in _LISTS:
        if is_kind(kind):
            return make(_plain_field(kind.value_field))
    return kind


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain(field.type))


def _labels(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """``column`` with null for every value that is no label: NaN, and text of nothing but blanks."""
    texts = column.cast(pa.large_string()) if pa.types.is_string(column.type) else column
    return pc.if_else(pa.chunked_array([pa.array(~is_empty(texts))]), column, pa.scalar(None, column.type))


def _text_table(file: Path) -> pa.Table:
    """Read all columns of ``file``; a column of numbers only becomes numeric."""
    text = open_text_table(file, None, True, ["path"])
    twice = [name for name in text.header if text.header.count(name) > 1]
    if twice:
        raise DatasetError(f"{file} has {text.header.count(twice[0])} columns called {twice[0]!r}; rename one of them")
    table = text.read(range(text.width))
    columns = {name: table[str(number)] for number, name in enumerate(text.header)}
    return pa.table({name: column if name == "path" else _typed(column) for name, column in columns.items()})


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the text ``column`` as numbers with empty cells as null, if every other cell is a number."""
    filled = pc.if_else(pa.chunked_array([pa.array(is_empty(column))]), pa.scalar(None, pa.large_string()), column)
    for kind in (pa.int64(), pa.float64()):
        try:
            return filled.cast(kind)
        except pa.ArrowInvalid:
            continue
    return column
