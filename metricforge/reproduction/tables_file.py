"""Reads a YAML file of tables, and refuses what PyYAML would lose or misread."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from metricforge.errors import ConfigError

_MERGE = "tag:yaml.org,2002:merge"
_FLOAT = "tag:yaml.org,2002:float"


class _StrictLoader(yaml.SafeLoader):
    """PyYAML with safer defaults: a repeated key is an error, and 1e-3 is a number."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = None if key_node.tag == _MERGE else self.construct_object(key_node, deep=True)
            if key is not None and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is repeated", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_StrictLoader.add_implicit_resolver(_FLOAT, re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


def read_tables_file(file: Path) -> Any:
    """Return what the YAML ``file`` has under ``tables``; None without that key.

    Raises:
        ConfigError: if the file is absent or not YAML, with the line.
    """
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _StrictLoader)
    except FileNotFoundError as fault:
        raise ConfigError(["there is no such file"], str(file)) from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError([f"cannot be read ({fault})"], str(file)) from fault
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError([f"{where}{fault.problem or fault.context}"], str(file)) from fault
    except yaml.YAMLError as fault:
        raise ConfigError([f"is not YAML ({fault})"], str(file)) from fault
    return content.get("tables") if isinstance(content, dict) else None
