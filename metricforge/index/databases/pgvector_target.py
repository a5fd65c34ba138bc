"""PostgreSQL with pgvector: a file of SQL that ``psql -f`` loads in one transaction."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pyarrow as pa

from metricforge.arrays import Floats32
from metricforge.errors import EmbeddingsError
from metricforge.index.databases.index_rows import VECTOR, IndexRows
from metricforge.index.hit import plain_value

OPERATORS = {"cosine": ("<=>", "vector_cosine_ops"), "l2": ("<->", "vector_l2_ops"), "ip": ("<#>", "vector_ip_ops")}
MOST_DIMENSIONS = 16_000  # of pgvector's type
MOST_INDEXED = 2_000  # of its index
LONGEST_NAME = 63  # bytes, of PostgreSQL
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
_TYPES: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_uint64, "numeric"),
    (pa.types.is_decimal, "numeric"),
    (pa.types.is_integer, "bigint"),
    (pa.types.is_floating, "double precision"),
    (pa.types.is_date, "date"),
    (pa.types.is_time, "time"),
    (lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None, "timestamptz"),
    (pa.types.is_timestamp, "timestamp"),
    (lambda kind: any(is_bytes(kind) for is_bytes in _BYTES), "bytea"),
    (pa.types.is_nested, "jsonb"),
)
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def write(rows: IndexRows, file: Path, name: str, on_images: Callable[[int], object]) -> str:
    """Write SQL that makes the table ``name`` of ``rows``, with an HNSW index, into ``file``; returns how to search it.

    Columns of numbers, truth values, dates, times and bytes keep their type, lists and structs are JSON, others text.

    Raises:
        EmbeddingsError: for more dimensions than pgvector has, a column whose name PostgreSQL would cut, or text with a
            zero byte, which it cannot hold.
    """
    if rows.dim > MOST_DIMENSIONS:
        raise EmbeddingsError(
            f"pgvector supports at most {MOST_DIMENSIONS:,} dimensions, these vectors have {rows.dim:,}; export to "
            "another database"
        )
    long = next((each for each in rows.schema.names if len(each.encode()) > LONGEST_NAME), None)
    if long is not None:
        raise EmbeddingsError(f"PostgreSQL cuts names of more than {LONGEST_NAME} bytes; rename the column {long!r}")
    operator, operators = OPERATORS[rows.distance]
    columns = [f"{_quoted(field.name)} {_sql_type(field.type)}" for field in rows.schema]
    columns[rows.schema.get_field_index("id")] = '"id" bigint PRIMARY KEY'
    listed = ", ".join(_quoted(each) for each in (*rows.schema.names, VECTOR))
    about = json.dumps(rows.about).replace("'", "''")
    with file.open("w", encoding="utf-8", newline="\n") as sql:
        sql.write(
            "\\set ON_ERROR_STOP on\n"
            "SET client_encoding = 'UTF8';\n"
            "CREATE EXTENSION IF NOT EXISTS vector;\n"
            "BEGIN;\n"
            f"CREATE TABLE {_quoted(name)} (\n  "
            + ",\n  ".join([*columns, f"{_quoted(VECTOR)} vector({rows.dim}) NOT NULL"])
            + f"\n);\nCOMMENT ON TABLE {_quoted(name)} IS '{about}';\n"
            f"COPY {_quoted(name)} ({listed}) FROM stdin;\n"
        )
        for table, vectors in rows.blocks():
            sql.writelines(_lines(table, vectors))
            on_images(len(table))
        sql.write("\\.\n")
        if rows.dim <= MOST_INDEXED:
            sql.write(f"CREATE INDEX ON {_quoted(name)} USING hnsw ({_quoted(VECTOR)} {operators});\n")
        sql.write("COMMIT;\n")
    order = f"{_quoted(VECTOR)} {operator} '[...]'"
    return f"psql -f {file.name}, then SELECT * FROM {_quoted(name)} ORDER BY {order} LIMIT 10"


def _lines(table: pa.Table, vectors: Floats32) -> list[str]:
    """Rows as COPY reads them."""
    lines = []
    for values, vector in zip(table.to_pylist(), vectors, strict=True):
        cells = [_cell(value, values["id"], column) for column, value in values.items()]
        cells.append("[" + ",".join(repr(float(number)) for number in vector) + "]")
        lines.append("\t".join(cells) + "\n")
    return lines


def _cell(value: Any, image: int, column: str) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"\\\\x{value.hex()}"
    plain = plain_value(value) if isinstance(value, (list, dict)) else str(value)
    if _has_zero_byte(plain):
        raise EmbeddingsError(f"PostgreSQL cannot hold the zero byte in column {column!r} of image {image}; remove it")
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    return text.translate(_ESCAPES)


def _has_zero_byte(value: Any) -> bool:
    """Whether a text in ``value``, of JSON's types, has one."""
    if isinstance(value, dict):
        return any(_has_zero_byte(key) or _has_zero_byte(each) for key, each in value.items())
    if isinstance(value, list):
        return any(map(_has_zero_byte, value))
    return isinstance(value, str) and "\0" in value


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _sql_type(kind.value_type)
    return next((name for fits, name in _TYPES if fits(kind)), "text")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
