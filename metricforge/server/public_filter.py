"""Which conditions strangers may search with: comparisons of columns, whose time grows with the rows alone."""

from __future__ import annotations

import json
from typing import Any

import duckdb

from metricforge.errors import FilterError
from metricforge.server.limits import LONGEST_FILTER

_KINDS = {"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "BETWEEN", "CAST", "FUNCTION", "TYPE"}
_FUNCTIONS = {
    *("~~", "!~~", "~~*", "!~~*", "like_escape", "ilike_escape", "not_like_escape", "not_ilike_escape"),
    *("+", "-", "*", "/", "%"),
    *("lower", "upper", "trim", "length", "contains", "starts_with", "ends_with", "prefix", "suffix"),
    *("abs", "round", "floor", "ceil", "year", "month", "day"),
}
_HIDDEN = {"path"}  # it tells how the server's folders are called


def check_filter(condition: str) -> None:
    """Let ``condition`` pass if it compares columns with constants and no more.

    Raises:
        FilterError: for sub-queries, other functions, the column ``path``, and what is no condition.
    """
    if len(condition) > LONGEST_FILTER:
        raise FilterError(f"filter has {len(condition):,} characters, at most {LONGEST_FILTER:,} are allowed")
    if "\0" in condition:
        raise FilterError("filter has a character NUL, which no condition has")
    nodes = [_parsed(condition)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes.extend(node)
        elif isinstance(node, dict):
            _check_node(node)
            nodes.extend(node.values())


def _parsed(condition: str) -> Any:
    """The syntax tree of ``condition``."""
    statement = f"SELECT 1 FROM rows WHERE {condition}\n"
    try:
        with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
            row = connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
        assert row is not None
        tree = json.loads(row[0])
    except (duckdb.Error, UnicodeError, RecursionError) as fault:
        raise FilterError(f"filter cannot be understood ({type(fault).__name__})") from fault
    if tree.get("error"):
        raise FilterError(f"filter {condition!r}: {tree.get('error_message', 'cannot be understood')}")
    statements = tree["statements"]
    node = statements[0]["node"] if len(statements) == 1 else {}
    if node.get("type") != "SELECT_NODE" or node.get("modifiers") or not node.get("where_clause"):
        raise FilterError(f"filter {condition!r}: must be one condition and nothing more")
    return node["where_clause"]


def _check_node(node: dict[str, Any]) -> None:
    kind = node.get("class")
    if kind is not None and kind not in _KINDS:
        raise FilterError(f"filter: {str(kind).lower()} is not allowed here; compare columns with constants")
    if kind == "FUNCTION" and node.get("function_name") not in _FUNCTIONS:
        raise FilterError(f"filter: the function {node.get('function_name')} is not allowed here")
    if kind == "COLUMN_REF" and any(str(name).lower() in _HIDDEN for name in node.get("column_names", [])):
        raise FilterError("filter: the column path is not served; use label or another column")
