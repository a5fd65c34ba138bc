"""The words that tables and folders have for a split, and for what an image is for in a test."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metricforge.errors import DatasetError

SPLITS = ("train", "val", "test")
ROLES = ("query", "gallery", "both", "junk")
# word -> split, and role where the word says it
SPLIT_WORDS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("train", "training"), ("train", "")),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), ("val", "")),
    **dict.fromkeys(("test", "testing"), ("test", "")),
    **dict.fromkeys(("query", "queries", "probe"), ("test", "query")),
    "gallery": ("test", "gallery"),
}
_TRUE, _FALSE = ("true", "1", "1.0", "yes", "t", "y"), ("false", "0", "0.0", "no", "f", "n", "nan", "none", "null", "")


def read_splits(table: pa.Table) -> tuple[pa.ChunkedArray | None, pa.ChunkedArray | None]:
    """The column ``split`` as "train", "val" or "test", other words as they are; and the roles that its words say."""
    if "split" not in table.column_names:
        return None, None
    words = pc.utf8_trim_whitespace(table["split"])
    number = pc.index_in(pc.utf8_lower(words), pa.array([*SPLIT_WORDS], pa.large_string()))
    splits, roles = (pa.array([pair[i] for pair in SPLIT_WORDS.values()], pa.large_string()) for i in (0, 1))
    said = pc.fill_null(pc.take(roles, number), "")
    return pc.if_else(pc.is_valid(number), pc.take(splits, number), words), said if pc.any(
        pc.not_equal(said, "")
    ).as_py() else None


def read_roles(where: str, table: pa.Table, by_split: pa.ChunkedArray | None) -> pa.ChunkedArray | None:
    """What each image is for (N,), by the columns ``role``, ``is_query`` and ``is_gallery`` or the words of splits.

    Raises:
        DatasetError: for flags that are neither true nor false.
    """
    if "role" in table.column_names:
        roles = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(table["role"], "")))
        return roles if by_split is None else pc.if_else(pc.equal(roles, ""), by_split, roles)
    flags = [name for name in ("is_query", "is_gallery") if name in table.column_names]
    if not flags:
        return by_split
    query, gallery = (_flag(where, table, name) for name in ("is_query", "is_gallery"))
    if query is None or gallery is None:
        told, role, other = (query, "query", "gallery") if query is not None else (gallery, "gallery", "query")
        return pc.if_else(told, role, other)
    return pc.if_else(
        pc.and_(query, gallery), "both", pc.if_else(query, "query", pc.if_else(gallery, "gallery", "junk"))
    )


def _flag(where: str, table: pa.Table, name: str) -> pa.ChunkedArray | None:
    if name not in table.column_names:
        return None
    column = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(table[name], "")))
    true = pc.is_in(column, pa.array(_TRUE, pa.large_string()))
    known = pc.or_(true, pc.is_in(column, pa.array(_FALSE, pa.large_string())))
    if not pc.all(known).as_py():
        row = int(np.argmin(known.to_numpy()))
        raise DatasetError(f"{where}, row {row + 1}: {name} must be true or false, got {column[row].as_py()!r}")
    return true
