"""Reads the config stored in a checkpoint without executing it."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from metricforge.errors import CheckpointError

_SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


def read_stored_config(text: str, source: str) -> dict[str, Any]:
    """Read the assignments in ``text``, whose values are literals and ``dict(...)``; nothing is executed.

    Args:
        text: a config as a run stores it.
        source: where it comes from, for messages.

    Raises:
        CheckpointError: if it has anything else.
    """
    try:
        statements = ast.parse(text).body
        return {_name(statement): _value(statement.value) for statement in statements}  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as fault:
        raise CheckpointError(f"{source}: the config stored in it cannot be read ({fault})") from fault


def _name(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    raise ValueError(f"line {statement.lineno} is not an assignment")


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Set):
        return {_value(item) for item in node.elts}
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        return {_value(key): _value(item) for key, item in zip(node.keys, node.values, strict=True) if key is not None}
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS and isinstance(node.operand, ast.Constant):
        return _SIGNS[type(node.op)](node.operand.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        parts = {} if not node.args else dict(_value(node.args[0]))
        if len(node.args) <= 1 and all(keyword.arg for keyword in node.keywords):
            return parts | {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    raise ValueError(f"line {node.lineno} has {ast.unparse(node)[:60]!r} where a plain value is expected")
