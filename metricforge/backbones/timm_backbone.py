"""Any network of timm, by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from torch import Tensor

from metricforge.backbones.frozen_batch_norm import freeze_batch_norm
from metricforge.backbones.weights_file import load_weights_file
from metricforge.errors import CheckpointError
from metricforge.interfaces import Backbone
from metricforge.registry import BACKBONES


@BACKBONES.register_module()
class TimmBackbone(Backbone):
    """A timm network without its classifier: images (B, 3, H, W) to its pooled features (B, F).

    ``mean`` and ``std`` are those that timm's weights were trained with, and ``evaluation_transform`` is how timm
    evaluates them: a resize to size / crop_pct with their interpolation, of the shorter side or of both, then a centre
    crop. The few networks that timm pads or that are not square have none; their config must name a transform.

    Args:
        name: as in ``timm.list_models()``, such as "resnet50", with or without a tag of its weights.
        pretrained: whether to download timm's weights.
        weights: a local file of weights instead (state dict, .pth or .safetensors), or a bundle of `metricforge export`
            with this network; nothing is downloaded then.
        frozen_batch_norm: whether BatchNorm keeps its statistics, weight and bias in training.

    Raises:
        ValueError: for a name that timm does not know, or a BatchNorm that cannot be frozen.
        CheckpointError: if the weights cannot be downloaded, or the file is absent or of another network.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        weights: str | Path | None = None,
        frozen_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if not timm.is_model(name):
            known = timm.list_models()
            close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
            guess = f"did you mean {', '.join(close)}?" if close else "none is spelt alike;"
            raise ValueError(f"name: timm has no model {name!r}; {guess} timm.list_models() lists all {len(known)}")
        if pretrained and weights is None:
            try:
                model = timm.create_model(name, pretrained=True, num_classes=0)
            except Exception as fault:  # timm, its hub and their network clients have no common error
                raise CheckpointError(
                    f"pretrained: the weights of timm's {name} cannot be downloaded ({type(fault).__name__}: {fault}); "
                    "download them elsewhere and give the file as weights=FILE, or set pretrained=False"
                ) from fault
        else:
            model = timm.create_model(name, pretrained=False, num_classes=0)
        if weights is not None:
            classifier = model.pretrained_cfg.get("classifier") or ()
            load_weights_file(model, weights, [classifier] if isinstance(classifier, str) else list(classifier))
        self.name = name
        # Some networks have layers between pooling and classifier, so that num_features is not what comes out.
        self.feature_dim = int(getattr(model, "head_hidden_size", None) or model.num_features)
        self.mean = tuple(model.pretrained_cfg["mean"])
        self.std = tuple(model.pretrained_cfg["std"])
        self.evaluation_transform = _evaluation_transform(timm.data.resolve_model_data_config(model))
        self.model = freeze_batch_norm(model) if frozen_batch_norm else model

    def forward(self, images: Tensor) -> Tensor:
        features = self.model(images)  # (B, F)
        assert features.shape[1:] == (self.feature_dim,), (self.name, features.shape, self.feature_dim)
        return features


def _evaluation_transform(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    _, height, width = data["input_size"]
    if height != width or data["crop_mode"] not in ("center", "squash"):
        return []
    side = math.floor(height / data["crop_pct"])
    size = (side, side) if data["crop_mode"] == "squash" else side
    return [
        dict(type="Resize", size=size, interpolation=data["interpolation"]),
        dict(type="CenterCrop", size=height),
    ]
