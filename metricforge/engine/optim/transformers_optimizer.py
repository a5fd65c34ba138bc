"""mmengine's optimizers without importing transformers, which takes longer than everything else together.

``mmengine.optim`` imports transformers, and peft with it, for one optimizer. Here it is registered when a config names
it. Imported before any other module of mmengine's but its registry and its config; ``metricforge.engine`` does so.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module

from mmengine.registry import OPTIMIZERS

NAME = "Adafactor"
SLOW = "transformers"

if SLOW not in sys.modules and "mmengine.optim" not in sys.modules:
    sys.modules[SLOW] = None  # type: ignore[assignment]  # an import of it fails, as where it is not installed
    try:
        import_module("mmengine.optim")
    finally:
        del sys.modules[SLOW]


def register_transformers_optimizer(name: object) -> None:
    """Register the optimizer that mmengine takes from transformers, if ``name`` is its and transformers is there."""
    if name == NAME and NAME not in OPTIMIZERS.module_dict:
        with suppress(ImportError):
            OPTIMIZERS.register_module(name=NAME, module=import_module(SLOW).Adafactor)
