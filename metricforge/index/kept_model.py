"""The copy of its model that an index keeps."""

from __future__ import annotations

from pathlib import Path

from metricforge.bundle_files import is_bundle, read_description
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.bundle import copy_bundle


def keep_model(model: EmbeddingModel, folder: Path) -> None:
    """Write ``model`` into ``folder``, unless it is there; a bundle is copied with its graphs, for searches by them."""
    if folder.exists():
        return
    bundle = Path(model.source)
    if is_bundle(bundle) and read_description(bundle)["metricforge_model"] == model.hash:
        copy_bundle(bundle, folder)
    else:
        model.save(folder)
