"""From a checkpoint to something people use: one embedding model, in Python and as a bundle of files.

Both names are imported on first use: what is beside them, such as stored embeddings, is read without PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metricforge.deployment.embedding_model import EmbeddingModel
    from metricforge.deployment.model_loading import load_model

__all__ = ["EmbeddingModel", "load_model"]

_MODULE_OF = {"EmbeddingModel": "embedding_model", "load_model": "model_loading"}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"metricforge.deployment.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # the next access finds it without this function
    return value
