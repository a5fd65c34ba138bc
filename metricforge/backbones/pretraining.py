"""Where a backbone's first weights come from, for protocols and model cards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm

from metricforge.backbones.torchvision_weights import torchvision_weights


def pretraining_of(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Where the first weights of ``backbone``, a component's config, came from, and their licence where it is known."""
    if backbone["type"] == "TorchvisionBackbone":
        name = str(backbone.get("name", "googlenet"))
        downloaded = torchvision_weights(name, backbone.get("weights"), backbone.get("pretrained", False))
        if downloaded is not None:
            return {"source": f"torchvision's weights {downloaded} of {name}", "licence": None}
    if backbone.get("weights"):
        return {"source": f"the file {Path(str(backbone['weights'])).name}", "licence": None}
    if backbone.get("pretrained") and backbone["type"] == "TimmBackbone" and ":" not in backbone["name"]:
        known = timm.get_pretrained_cfg(backbone["name"])
        tag, licence = (getattr(known, "tag", None), getattr(known, "license", None))
        name = backbone["name"].partition(".")[0]
        return {"source": f"timm's weights {name}.{tag}" if tag else f"timm's weights of {name}", "licence": licence}
    if backbone.get("pretrained"):
        name = str(backbone.get("name", backbone["type"]))
        if name.startswith("local-dir:"):
            name = f"the folder {Path(name.removeprefix('local-dir:')).name}"
        return {"source": f"the pretrained weights of {name}", "licence": None}
    return {"source": None, "licence": None}
