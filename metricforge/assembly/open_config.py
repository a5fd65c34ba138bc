"""A config as a run takes it: read, completed, its own modules imported, without faults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config

from metricforge.config import complete_config, not_copied, override_config, read_config
from metricforge.config_check import check_config
from metricforge.errors import ConfigError


def open_config(
    config: str | Path | Mapping[str, Any], overrides: Mapping[str, Any] | None, seed: int | None
) -> tuple[Config, str]:
    """Return the completed config, its own modules imported, and what errors call it."""
    if isinstance(config, (str, Path)):
        source = str(config)
        cfg = read_config(config, overrides)
    else:
        source = "the config"
        content = config.to_dict() if isinstance(config, Config) else dict(config)
        fault = not_copied(content)
        if fault is not None:
            raise ConfigError([fault], source)
        cfg = Config(content)
        override_config(cfg, overrides or {})
    if seed is not None:
        cfg.seed = seed
    complete_config(cfg)
    if cfg.filename is None:  # what it is written as, and what the run's folder is called
        stem = Path(config.filename).stem if isinstance(config, Config) and config.filename else _short_name(cfg)
        object.__setattr__(cfg, "_filename", f"{stem}.py")
    for module in (cfg.get("custom_imports") or {}).get("imports") or []:
        try:
            import_module(module)
        except (Exception, SystemExit) as error:  # a module of the user's own: whatever it raises is reported
            raise ConfigError(
                [f"custom_imports.imports: {module} cannot be imported ({type(error).__name__}: {error})"], source
            ) from error
    return cfg, source


def _short_name(cfg: Config) -> str:
    """A name as the recipes have them, method and data: ``triplet_image_folder``."""
    parts = (cfg.get("model"), "loss", "Loss"), (cfg.get("test_dataloader"), "dataset", "Dataset")
    words = []
    for holder, key, ending in parts:
        part = holder.get(key) if isinstance(holder, Mapping) else None
        name = str(part.get("type", "")) if isinstance(part, Mapping) else ""
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|\W+", "_", name.removesuffix(ending))
        words.append(snake.strip("_").lower())
    return "_".join(filter(None, words)) or "run"


def refuse_faults(cfg: Config, source: str, *, train: bool, num_classes: int | None = None) -> None:
    """Raise ConfigError for everything that is wrong with ``cfg``, which errors call ``source``."""
    faults = check_config(cfg, train=train, num_classes=num_classes)
    if faults:
        raise ConfigError(faults, source)
