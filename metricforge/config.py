"""Reads a config, applies overrides, and fills in what a config may leave out."""

from __future__ import annotations

import copy
import runpy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from mmengine.config import Config, ConfigDict

from metricforge.config_check.top_level_keys import shape_faults
from metricforge.config_files import find_base, find_config
from metricforge.config_text import keep_formatted_texts
from metricforge.errors import ConfigError
from metricforge.overrides import apply_overrides

PLAIN = "write numbers, text, lists or dicts"

keep_formatted_texts()


def read_config(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read the config ``name`` and apply ``overrides`` such as ``{"model.loss.margin": 0.5}``.

    Args:
        name: a file, or an installed config: ``normsoftmax_glyphs``, ``package::path``.
        overrides: dotted keys to values, as ``apply_overrides`` takes them.

    Raises:
        ConfigError: if it is absent or does not run, or an override does not fit.
    """
    path = find_config(name)
    try:
        with _bases_of_installed_packages():
            config = Config.fromfile(path)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # a config is Python code: what it raises is reported with the file's name
        raise ConfigError([_explain(error, path)], str(path)) from error
    override_config(config, overrides or {})
    return config


@contextmanager
def _bases_of_installed_packages() -> Iterator[None]:
    """Let ``_base_`` name installed configs: mmengine needs pkg_resources for that, which setuptools 81 dropped."""
    before = Config._get_cfg_path
    Config._get_cfg_path = staticmethod(lambda base, file: (str(find_base(base, file)), None))
    try:
        yield
    finally:
        Config._get_cfg_path = staticmethod(before)


def override_config(config: Config, overrides: Mapping[str, Any]) -> None:
    """Apply ``overrides`` to ``config`` as ``apply_overrides`` does; a ``Path`` in it becomes its text.

    Raises:
        ConfigError: if a key leads nowhere.
    """
    content = config.to_dict()
    apply_overrides(content, overrides)
    object.__setattr__(config, "_cfg_dict", ConfigDict(_with_paths_as_text(content)))


def _with_paths_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_paths_as_text(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_with_paths_as_text, value))
    return str(value) if isinstance(value, Path) else value


def complete_config(config: Config) -> None:
    """Write out what a config may leave to others: ``data_root`` for both data sets, the backbone of a baseline.

    Raises:
        ConfigError: if a top-level key holds something else than a dict, a list or a path, whichever it needs.
    """
    faults = shape_faults(config)
    if faults:
        raise ConfigError(faults, config.filename or "the config")
    for loader in ("train_dataloader", "test_dataloader"):
        if config.get("data_root") and isinstance(config.get(loader), Mapping) and config[loader].get("dataset"):
            config[loader].dataset.root = config.data_root
    for baseline in (config.get("baselines") or {}).values():
        if isinstance(baseline, dict) and config.get("model"):
            baseline.setdefault("backbone", config.model.get("backbone"))
    if isinstance(config.get("optim_wrapper"), Mapping):
        # one group for each setting and misspelt keys refused, unless a config brings its own constructor
        config.optim_wrapper.setdefault("constructor", "ParameterGroups")


def not_copied(values: Mapping[str, Any]) -> str | None:
    """The fault of the first of ``values``, at any depth, that cannot be copied, as an open file or a generator."""
    for key, value in _leaves(values, ""):
        try:
            copy.deepcopy(value)
        except TypeError:
            return f"{key}: {value!r} is not a value; {PLAIN}"
    return None


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (Mapping, list, tuple)):
        for inner, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            if not isinstance(item, ModuleType) and not str(inner).startswith("__"):
                yield from _leaves(item, f"{key}.{inner}" if key else str(inner))
    else:
        yield key, value


def _explain(error: Exception | SystemExit, path: Path) -> str:
    if isinstance(error, SystemExit):
        return f"it ends the process (SystemExit: {error}); a config only assigns values"
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} is not Python: {error.msg}: {(error.text or '').strip()}"
    if isinstance(error, RuntimeError) and not str(error):
        return "a config may not import and call modules; write values, or compute them in a module of custom_imports"
    if isinstance(error, TypeError) and "pickle" in str(error):
        values: dict[str, Any] = {}
        with suppress(Exception):  # what only mmengine understands in it, such as names of its base
            values = runpy.run_path(str(path))
        return not_copied(values) or f"{error}, in a file of _base_; {PLAIN}"
    if isinstance(error, FileNotFoundError):
        return f"a file of _base_ is missing: {error}"
    return f"{type(error).__name__}: {error}"
