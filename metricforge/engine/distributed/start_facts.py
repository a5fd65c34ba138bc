"""What must be the same for processes that are to train one run together: settings, code and libraries."""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metricforge.component_source import announced_sources
from metricforge.engine.records.config_changes import settings_of
from metricforge.version import __version__

PACKAGE = Path(__file__).parents[2]

# Where images lie and how many workers read them is each machine's own affair.
_OWN = re.compile(r"data_root|\w+_dataloader\.(num_workers|cache)|\w+_dataloader\.dataset\.(root|table)")


def start_facts(config: Mapping[str, Any], asked: Mapping[str, object]) -> dict[str, str]:
    """Return the facts for ``check_same``: of the ``config``, of what else was ``asked`` for, and of the code."""
    settings = {name: repr(value) for name, value in settings_of(config).items() if not _OWN.fullmatch(name)}
    libraries = {
        "Python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "metricforge": __version__,
    }
    return settings | {name: repr(value) for name, value in asked.items()} | libraries | _code(config)


def _code(config: Mapping[str, Any]) -> dict[str, str]:
    """The hash of each source file of MetricForge, and of each imported one of plug-ins and ``custom_imports``."""
    found = {f"code of metricforge/{path.relative_to(PACKAGE)}": path for path in PACKAGE.rglob("*.py")}
    own = [source.module.partition(".")[0] for source in announced_sources()]
    own += [str(name) for name in (config.get("custom_imports") or {}).get("imports") or []]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and any(f"{name}.".startswith(f"{each}.") for each in own):
            found[f"code of {name}"] = Path(file)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for name, path in sorted(found.items())}
