"""Finds the rows that fulfil a filter such as ``label in ('shoe', 'boot') and price < 50``, with DuckDB."""

from __future__ import annotations

import re
from collections import Counter

import duckdb
import numpy as np
import pyarrow as pa

from metricforge.arrays import Flags
from metricforge.errors import FilterError

_ROW = "__row"
_SETTINGS = {"enable_external_access": "false", "autoinstall_known_extensions": "false", "lock_configuration": "true"}


def matching_rows(table: pa.Table, condition: str) -> Flags:
    """Return which rows (n,) of ``table`` fulfil ``condition``, an SQL expression over its columns; NULL does not.

    The expression can read ``table`` only: no files, no network, no settings.

    Raises:
        FilterError: if it is not such an expression, or names one of two columns that differ in case only, which SQL
            does not tell apart; the message names the columns.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in condition):
        raise FilterError(f"--filter {condition!r}: is not valid UTF-8; write it in that encoding")
    _refuse_ambiguous(table, condition)
    rows = table.append_column(_ROW, pa.array(np.arange(len(table))))
    try:
        with duckdb.connect(":memory:", config=dict(_SETTINGS)) as connection:
            chosen = connection.from_arrow(rows).filter(duckdb.SQLExpression(condition))
            found = chosen.select(_ROW).fetchnumpy()[_ROW]
    except duckdb.Error as fault:
        columns = ", ".join(f"{field.name} ({field.type})" for field in table.schema)
        reason = str(fault).split("\n\n")[0].strip()
        raise FilterError(
            f"--filter {condition!r}: {reason}; write an SQL condition over the columns {columns}, "
            "such as \"label in ('shoe', 'boot') and price < 50\""
        ) from fault
    flags = np.zeros(len(table), dtype=bool)
    flags[np.asarray(found, dtype=np.int64)] = True
    return flags


def _refuse_ambiguous(table: pa.Table, condition: str) -> None:
    names = Counter(name.lower() for name in table.column_names)
    for name, count in names.items():
        if count > 1 and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", condition.lower()):
            alike = " and ".join(each for each in table.column_names if each.lower() == name)
            raise FilterError(
                f"--filter {condition!r}: SQL does not tell the columns {alike} apart; rename one of them in the table "
                "that the images come from, and index it again"
            )
