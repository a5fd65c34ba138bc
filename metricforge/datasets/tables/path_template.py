"""Paths that are made of several columns, such as ``{id[0]}/{id[1]}/{id[2]}/{id}.jpg``."""

from __future__ import annotations

import re
import string
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

_FIELD = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<first>\d+)(?P<range>:(?P<end>\d+))?\])?")


def template_columns(template: str) -> list[str]:
    """The columns that ``template`` names, each once.

    Raises:
        ValueError: for a template that names none, or that cannot be read.
    """
    names = [_parsed(name)["name"] for name in _fields(template)]
    if not names:
        raise ValueError(f'path_template must name a column in braces, such as "{{id}}.jpg", got {template!r}')
    return list(dict.fromkeys(names))


def fill_template(template: str, column: Callable[[str], pa.ChunkedArray]) -> pa.ChunkedArray:
    """A path a row: ``{id}`` is a column's text, ``{id[0]}`` its first letter and ``{id[0:2]}`` its first two."""
    parts: list[pa.ChunkedArray | pa.Scalar] = []
    for text, name, _, _ in string.Formatter().parse(template):
        if text:
            parts.append(pa.scalar(text, pa.large_string()))
        if name is not None:
            field = _parsed(name)
            values = pc.utf8_trim_whitespace(column(field["name"]))
            if field["first"] is not None:
                first = int(field["first"])
                end = first + 1 if field["range"] is None else int(field["end"])
                values = pc.utf8_slice_codeunits(values, first, end)
            parts.append(values)
    return pc.binary_join_element_wise(*parts, pa.scalar("", pa.large_string()))


def _fields(template: str) -> list[str]:
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as fault:
        raise ValueError(f"path_template {template!r} cannot be read ({fault})") from fault
    if any(form or conversion for _, _, form, conversion in parsed):
        raise ValueError(f"path_template {template!r}: braces hold a column's name and, in [], which letters of it")
    return [name for _, name, _, _ in parsed if name is not None]


def _parsed(field: str) -> re.Match[str]:
    match = _FIELD.fullmatch(field)
    if match is None:
        raise ValueError(f"path_template: {{{field}}} must be a column's name, or {{name[0]}} or {{name[0:2]}}")
    return match
