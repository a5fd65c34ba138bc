"""Overrides of a config: ``model.loss.margin=0.5`` on a command line, or a dict of dotted keys to values in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from metricforge.errors import ConfigError

Step = str | int

_NAME = r"""[^\s.=\[\]'"](?:[^.=\[\]'"]*[^\s.=\[\]'"])?"""
_STEP = rf"""\.{_NAME}|\[\d+\]|\["[^"]+"\]|\['[^']+'\]"""
_KEY = re.compile(rf"{_NAME}(?:{_STEP})*")


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``KEY=VALUE``, and read the value.

    Raises:
        ConfigError: if there is no ``=``, or what stands before it is not a key.
    """
    key = _KEY.match(text)
    if key is not None and text[key.end() :].startswith("="):
        return key[0], parse_value(text[key.end() + 1 :])
    before, equals, _ = text.partition("=")
    if equals:
        raise _not_a_key(before)
    raise ConfigError([f"{text}: must be KEY=VALUE, such as train_cfg.max_epochs=3"], "the overrides")


def parse_value(text: str) -> Any:
    """Read ``text`` as a Python literal, in which ``dict(...)`` may stand for a dict; anything else is that string.

    >>> parse_value("1e-3"), parse_value("None"), parse_value("my photos, 2020")
    (0.001, None, 'my photos, 2020')
    >>> parse_value('[dict(type="RecallAtK", ks=[1])]')
    [{'type': 'RecallAtK', 'ks': [1]}]
    """
    try:
        return _literal(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


def format_override(key: str, value: Any) -> str:
    """``KEY=VALUE`` that ``parse_override`` reads back as this key and value."""
    plain = isinstance(value, str) and parse_value(value) == value
    return f"{key}={value if plain else repr(value)}"


def parse_key(key: str) -> tuple[Step, ...]:
    """Split a key into names and indices.

    >>> parse_key("evaluators[0].ks")
    ('evaluators', 0, 'ks')
    >>> parse_key('custom_keys["loss.proxies"].lr_mult')
    ('custom_keys', 'loss.proxies', 'lr_mult')

    A name of digits, as in ``evaluators.0.ks``, is an index where it meets a list.

    Raises:
        ConfigError: if it is not a key.
    """
    if not _KEY.fullmatch(key):
        raise _not_a_key(key)
    steps: list[Step] = []
    for step in re.findall(rf"^{_NAME}|{_STEP}", key):
        if step.startswith("["):
            inside = step[1:-1]
            steps.append(int(inside) if inside.isdecimal() else inside[1:-1])
        else:
            steps.append(step.removeprefix("."))
    return tuple(steps)


def value_at(config: Mapping[str, Any], key: str) -> Any:
    """What stands at the dotted ``key``; None if nothing does."""
    value: Any = config
    for step in parse_key(key):
        if isinstance(value, (list, tuple)):
            index = _index(step)
            value = value[index] if index is not None and index < len(value) else None
        elif isinstance(value, Mapping):
            value = value.get(step)
        else:
            return None
    return value


def apply_overrides(config: MutableMapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Set each of ``overrides``, dotted keys to values, in ``config``.

    A dict is merged into the dict that is there, as in a config file. Where that gives a component another ``type``, or
    ``type`` alone is overridden, the arguments of the type before are dropped, and so they are with ``_delete_=True``.
    Any other value replaces what is there. Of two keys of which one contains the other (``model`` and ``model.loss``),
    the longer one is applied last.

    Raises:
        ConfigError: if a key leads nowhere: through a number, say, or beyond the end of a list.
    """
    paths = {key: parse_key(key) for key in overrides}
    for key in sorted(paths, key=lambda key: (len(paths[key]), paths[key][-1] != "type")):
        if str(paths[key][0]).startswith("_"):
            raise _leads_nowhere(key, "a name with a leading underscore is used within a config file alone")
        _set(config, paths[key], overrides[key], key)


def _set(parent: Any, path: tuple[Step, ...], value: Any, key: str) -> Any:
    """``parent`` with ``value`` at ``path``: changed in place if it is a dict or a list."""
    if not path:
        return _merge(parent, value)
    step, rest = path[0], path[1:]
    parent = {} if parent is None else parent
    if isinstance(parent, MutableMapping) and isinstance(step, str):
        if step == "type" and not rest and parent.get("type", value) != value:
            parent.clear()
        parent[step] = _set(parent.get(step), rest, value, key)
        return parent
    if isinstance(parent, (list, tuple)):
        items, index = list(parent), _index(step)
        if index is None or index >= len(items):
            allowed = f"use 0..{len(items) - 1}" if items else "override the whole list"
            raise _leads_nowhere(key, f"{step} is not an index of a list of {len(items)}; {allowed}")
        items[index] = _set(items[index], rest, value, key)
        return type(parent)(items)
    what = "there is a dict" if isinstance(parent, Mapping) else f"there is {parent!r}"
    raise _leads_nowhere(key, f"{step!r} cannot be looked up, because {what}")


def _merge(old: Any, new: Any) -> Any:
    """``new``, merged into ``old`` where both are dicts and not of different types."""
    if isinstance(new, (list, tuple)):
        return type(new)(_merge(None, item) for item in new)
    if not isinstance(new, Mapping):
        return new
    other_type = isinstance(old, Mapping) and old.get("type", new.get("type")) != new.get("type", old.get("type"))
    if not isinstance(old, Mapping) or other_type or new.get("_delete_"):
        old = {}
    changed = {name: _merge(old.get(name), value) for name, value in new.items() if name != "_delete_"}
    return {**old, **changed}


def _index(step: Step) -> int | None:
    return step if isinstance(step, int) else int(step) if step.isdecimal() else None


def _literal(node: ast.expr) -> Any:
    """The value of ``node``.

    Raises:
        ValueError: if it is anything but None, a bool, a number, a string, a list, a tuple or a dict.
    """
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str()):
            return node.value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as number)):
            if not isinstance(number, bool):
                return -number if isinstance(sign, ast.USub) else number
        case ast.List():
            return [_literal(item) for item in node.elts]
        case ast.Tuple():
            return tuple(_literal(item) for item in node.elts)
        case ast.Dict():
            keys = [_literal(key) for key in node.keys if key is not None]
            if len(keys) == len(node.values):  # no ** in it
                return dict(zip(keys, map(_literal, node.values), strict=True))
        case ast.Call(func=ast.Name(id="dict"), args=[]):
            named = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg is not None}
            if len(named) == len(node.keywords):
                return {name: _literal(value) for name, value in named.items()}
    raise ValueError(f"{ast.dump(node)} is not a literal")


def _not_a_key(key: str) -> ConfigError:
    return ConfigError(
        [f'"{key}" is not a key: a key is names with dots between them, such as model.loss.margin or evaluators[0].ks'],
        "the overrides",
    )


def _leads_nowhere(key: str, why: str) -> ConfigError:
    return ConfigError([f"{key}: {why}"], "the overrides")
