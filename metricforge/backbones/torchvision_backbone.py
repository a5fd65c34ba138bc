"""Any classification network of torchvision, by name; the papers' GoogLeNet first of all."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models import get_model, list_models

from metricforge.backbones.frozen_batch_norm import freeze_batch_norm
from metricforge.backbones.torchvision_weights import torchvision_weights
from metricforge.backbones.weights_file import load_weights_file
from metricforge.errors import CheckpointError
from metricforge.interfaces import Backbone
from metricforge.registry import BACKBONES

_INCEPTION = ("googlenet", "inception_v3")
_AUXILIARY = ("aux1", "aux2", "AuxLogits")


@BACKBONES.register_module()
class TorchvisionBackbone(Backbone):
    """A torchvision classification network without its last linear layer: images (B, 3, H, W) to features (B, F).

    A feature is the pooled one, except in AlexNet and VGG, where it is the last hidden layer (4,096 values). ``mean``
    and ``std`` are ImageNet's; for GoogLeNet and Inception v3 they are 0.5, because their weights expect values in
    -1..1 (torchvision's own ``transform_input``, which would undo ImageNet's first, is off), and the auxiliary
    classifiers are left out.

    Args:
        name: as in ``torchvision.models.list_models()``, such as "googlenet".
        pretrained: whether to download torchvision's default weights, which may be others in its next version.
        weights: the name of torchvision's weights to download instead, such as "IMAGENET1K_V1", or a local file (state
            dict, .pth or .safetensors), with which nothing is downloaded.
        frozen_batch_norm: whether BatchNorm keeps its statistics, weight and bias in training.
        dropout: probability in 0..1 (1 excluded) that training drops a feature, instead of the classifier's own
            dropout. The lifted-structure paper has 0.4.

    Raises:
        ValueError: for a name that torchvision does not know, weights that it does not have, a network that does not
            end in a linear layer, a probability outside 0..1, or a BatchNorm that cannot be frozen.
        CheckpointError: if the weights cannot be downloaded, or the file is absent or of another network.
    """

    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self,
        name: str = "googlenet",
        pretrained: bool = False,
        weights: str | Path | None = None,
        frozen_batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        known = list_models(module=torchvision.models)
        if name not in known:
            close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
            guess = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(known)}"
            raise ValueError(f"name: torchvision has no classification model {name!r}; {guess}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        download = torchvision_weights(name, weights, pretrained)
        options: dict[str, Any] = {}
        if name in _INCEPTION:
            options = {"transform_input": False, "init_weights": not (pretrained or weights)}
            # With weights to download, torchvision refuses False and warns of True.
            options |= {"aux_logits": False} if download is None else {}
            self.mean = self.std = (0.5, 0.5, 0.5)
        try:
            model = get_model(name, weights=download, **options)
        except Exception as fault:  # the network clients below torchvision have no common error
            if download is None:
                raise
            raise CheckpointError(
                f"{'pretrained' if weights is None else 'weights'}: torchvision's weights {download} of {name} cannot "
                f"be downloaded ({type(fault).__name__}: {fault}); download them elsewhere and give the file as "
                f"weights=FILE, or {'set pretrained=False' if weights is None else 'leave weights out'}"
            ) from fault
        if name in _INCEPTION:
            model.aux_logits = False
            for attribute in _AUXILIARY:
                if hasattr(model, attribute):
                    setattr(model, attribute, None)
        classifier, layer = list(model.named_modules())[-1]
        if not isinstance(layer, nn.Linear):
            raise ValueError(
                f"name: torchvision's {name} ends in {type(layer).__name__}, not in a linear layer; "
                'choose another, such as "googlenet" or "resnet50"'
            )
        if weights is not None and download is None:
            load_weights_file(model, weights, [classifier, *_AUXILIARY])
        parent, _, attribute = classifier.rpartition(".")
        setattr(model.get_submodule(parent), attribute, nn.Identity())
        for path, module in model.named_modules():
            if isinstance(module, nn.Dropout) and path.split(".")[0] in (classifier.split(".")[0], "dropout"):
                module.p = 0.0
        self.name = name
        self.feature_dim = layer.in_features
        self.model = freeze_batch_norm(model) if frozen_batch_norm else model
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        features = self.dropout(self.model(images))  # (B, F)
        assert features.shape[1:] == (self.feature_dim,), (self.name, features.shape, self.feature_dim)
        return features
