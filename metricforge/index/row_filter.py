"""Finds the rows that fulfil a filter such as ``label in ('shoe', 'boot') and price < 50``, with DuckDB."""

from __future__ import annotations

import re
from collections import Counter

import duckdb
import numpy as np
import pyarrow as pa
from duckdb import ColumnExpression, ConstantExpression, DuckDBPyConnection, DuckDBPyRelation, FunctionExpression

from metricforge.arrays import Flags
from metricforge.errors import FilterError

_SETTINGS = {"enable_external_access": "false", "autoinstall_known_extensions": "false", "lock_configuration": "true"}


def matching_rows(table: pa.Table, condition: str) -> Flags:
    """Return which rows (n,) of ``table`` fulfil ``condition``, an SQL expression over its columns; NULL does not.

    NaN in a column counts as NULL. The expression can read ``table`` only: no files, no network, no settings.

    Raises:
        FilterError: if it is not such an expression, or names one of two columns that differ in case only, which SQL
            does not tell apart; the message names the columns.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in condition):
        raise FilterError(f"--filter {condition!r}: is not valid UTF-8; write it in that encoding")
    _refuse_ambiguous(table, condition)
    try:
        with duckdb.connect(":memory:", config=dict(_SETTINGS)) as connection:
            rows = _readable(connection, table)
            expression = duckdb.SQLExpression(condition)
            rows.filter(expression)  # refuses what is of several rows, such as count(*)
            answers = rows.select(expression)  # one a row, in the order of the rows
            if list(map(str, answers.types)) != ["BOOLEAN"]:
                kinds = ", ".join(str(kind).strip('"') for kind in answers.types)
                raise FilterError(
                    f"--filter {condition!r}: is {kinds}, not a condition that is true or false; "
                    f"{_what_to_write(table)}"
                )
            (flags,) = answers.fetchnumpy().values()
    except duckdb.Error as fault:
        reason = str(fault).split("\n\n")[0].strip()
        raise FilterError(f"--filter {condition!r}: {reason}; {_what_to_write(table)}") from fault
    return np.ma.filled(flags, False).astype(bool)


def _readable(connection: DuckDBPyConnection, table: pa.Table) -> DuckDBPyRelation:
    """``table`` in ``connection``, with NULL for NaN, which SQL takes for the largest number."""
    for number, field in enumerate(table.schema):
        if pa.types.is_float16(field.type):  # which DuckDB does not read
            table = table.set_column(number, field.name, table.column(number).cast(pa.float32()))
    rows = connection.from_arrow(table)
    nan = ConstantExpression(float("nan"))
    columns = [ColumnExpression(name) for name in rows.columns]
    return rows.select(
        *(
            FunctionExpression("nullif", column, nan).alias(name) if str(kind) in ("FLOAT", "DOUBLE") else column
            for name, column, kind in zip(rows.columns, columns, rows.types, strict=True)
        )
    )


def _what_to_write(table: pa.Table) -> str:
    columns = ", ".join(f"{field.name} ({field.type})" for field in table.schema)
    return f"write an SQL condition over the columns {columns}, such as \"label in ('shoe', 'boot') and price < 50\""


def _refuse_ambiguous(table: pa.Table, condition: str) -> None:
    names = Counter(name.lower() for name in table.column_names)
    for name, count in names.items():
        if count > 1 and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", condition.lower()):
            alike = " and ".join(each for each in table.column_names if each.lower() == name)
            raise FilterError(
                f"--filter {condition!r}: SQL does not tell the columns {alike} apart; rename one of them in the table "
                "that the images come from, and index it again"
            )
