"""Any network of timm, by name."""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import adapt_input_conv, group_parameters
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metricforge.backbones.adapters.adapter import build_adapter, forget_adapter, keep_adapter_alone, merge
from metricforge.backbones.frozen_batch_norm import freeze_batch_norm
from metricforge.backbones.pooling import POOLINGS, as_tokens, install_pooling, pooling_layer
from metricforge.backbones.timm_arguments import class_arguments, timm_arguments, unknown_argument
from metricforge.backbones.weights_file import load_layer_of_bundle, load_weights_file
from metricforge.errors import CheckpointError
from metricforge.interfaces import Backbone
from metricforge.registry import BACKBONES

HUB, FOLDER = "hf-hub:", "local-dir:"


@BACKBONES.register_module()
class TimmBackbone(Backbone):
    """A timm network without its classifier: images (B, 3, H, W) to its pooled features (B, F).

    ``mean`` and ``std`` are those that timm's weights were trained with, and ``evaluation_transform`` is how timm
    evaluates them: a resize to size / crop_pct with their interpolation, of the shorter side or of both, then a centre
    crop; ``img_size`` takes the place of timm's size. The few networks that timm pads or that are not square have none;
    their config must name a transform.

    Args:
        name: as in ``timm.list_models()``, such as "resnet50", with or without a tag of its weights; a repository of
            the Hugging Face hub, "hf-hub:timm/resnet50.a1_in1k"; or a folder with a config.json and weights of timm,
            "local-dir:FOLDER".
        pretrained: whether to download timm's weights, or to read those of the folder.
        weights: a local file of weights instead (state dict, .pth or .safetensors), or a bundle of `metricforge export`
            with this network; nothing is downloaded then.
        frozen_batch_norm: whether BatchNorm keeps its statistics, weight and bias in training.
        img_size: side of the images in pixels, or (height, width), for networks of a fixed size, as ViT and Swin are;
            pretrained position embeddings are resampled.
        in_chans: 3, or 1 for a network of grey pictures: it gets the mean of the three normalised channels.
        global_pool: how features are pooled: "avg" or "max", "cls" (the class token, timm's "token"), "gem" (a
            generalised mean whose exponent is learned), "attention" (by a learned query, trained anew), or another of
            timm's.
        tokens: give the network's last tokens (B, T, F), or the places of its feature map, in place of pooled features,
            for a head that ``takes_tokens``.
        adapter: train small weights beside those of the network, which stay as they are, such as
            ``dict(type="LoRA", rank=8)`` (``Adapter``; extra ``[peft]``). BatchNorm rests then.
        grad_checkpointing: compute activations again in the backward pass, in place of keeping them: less memory, for
            the time of another forward pass, with the same gradients.
        drop_rate: probability in 0..1 that training drops a feature.
        drop_path_rate: stochastic depth: probability in 0..1 that training skips a block.
        pretrained_cfg: timm's record of weights (mean, std, input_size, crop_pct, ...) in place of its own of
            that name; an exported model that began from a hub repository or a folder has it.
        **timm_arguments: whatever else the network's constructor takes, such as ``dynamic_img_size=True``.

    Raises:
        ValueError: for a name that timm does not know, an argument that the network does not take, one that leaves
            features unpooled, a BatchNorm that cannot be frozen or would see each batch twice, or an adapter that does
            not fit.
        CheckpointError: if the weights cannot be downloaded, or the file is absent or of another network.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        weights: str | Path | None = None,
        frozen_batch_norm: bool = False,
        img_size: Any = None,
        in_chans: int | None = None,
        global_pool: str | None = None,
        tokens: bool = False,
        adapter: Mapping[str, Any] | None = None,
        grad_checkpointing: bool = False,
        drop_rate: float | None = None,
        drop_path_rate: float | None = None,
        pretrained_cfg: Mapping[str, Any] | None = None,
        **timm_arguments: Any,
    ) -> None:
        super().__init__()
        own_pooling = global_pool if global_pool in POOLINGS else None
        timm_pooling = None if own_pooling else {"cls": "token"}.get(str(global_pool), global_pool)
        if tokens and global_pool is not None:
            raise ValueError(
                f"global_pool: {global_pool!r} has nothing to pool with tokens=True; leave one of them out"
            )
        named = dict(img_size=img_size, in_chans=in_chans, global_pool=timm_pooling, drop_rate=drop_rate)
        named |= dict(drop_path_rate=drop_path_rate)
        chosen = {key: value for key, value in (named | timm_arguments).items() if value is not None}
        _check_values(chosen)
        for key in ("img_size", "window_size"):
            if isinstance(chosen.get(key), list):
                chosen[key] = tuple(chosen[key])
        _check_name(name, chosen)
        model = _create(name, pretrained and weights is None, chosen, pretrained_cfg)
        known = class_arguments(type(model)) or []
        faults = [unknown_argument(name, key, known) for key in chosen if key not in known]
        if faults:
            raise ValueError("; ".join(faults))
        pooling = pooling_layer(model, name, own_pooling) if own_pooling else ""
        if weights is not None:
            classifier = model.pretrained_cfg.get("classifier") or ()
            ignored = [classifier] if isinstance(classifier, str) else list(classifier)
            ignored += [pooling] if pooling else []
            load_weights_file(model, weights, ignored, adapt=_adaption(model, chosen))
        self.name = name
        # Some networks have layers between pooling and classifier, so that num_features is not what comes out.
        self.feature_dim = int(getattr(model, "head_hidden_size", None) or model.num_features)
        self.mean = tuple(model.pretrained_cfg["mean"])
        self.std = tuple(model.pretrained_cfg["std"])
        data = timm.data.resolve_model_data_config(model)
        size = img_size if img_size is not None else model.pretrained_model_args.get("img_size")
        if size is not None:
            height, width = (size, size) if isinstance(size, int) else size
            data |= dict(input_size=(data["input_size"][0], height, width))
        self.input_size: tuple[int, int] = (data["input_size"][1], data["input_size"][2])
        self.size_argument = "img_size" if "img_size" in known else None
        self.evaluation_transform = _evaluation_transform(data)
        self.grey = data["input_size"][0] == 1 if in_chans is None else in_chans == 1
        self.portable_arguments = _without_source(name, model)
        self.model = freeze_batch_norm(model) if frozen_batch_norm else model
        self.gives_tokens = tokens
        self.adapted = adapter is not None
        if adapter is not None:
            if not pretrained and weights is None:
                raise ValueError(
                    "adapter: there are no weights to adapt, and a checkpoint, which holds the adapter alone, could "
                    "not be loaded; set pretrained=True or weights=FILE"
                )
            build_adapter(adapter).inject(self.model)
            keep_adapter_alone(self, "model")
        if own_pooling is not None:
            install_pooling(self.model, name, own_pooling)
            if weights is not None:
                load_layer_of_bundle(self.model, weights, pooling)
        if grad_checkpointing:
            self._checkpoint_gradients()
        if tokens:
            self.feature_dim = int(model.num_features)
        elif global_pool is not None:
            self.feature_dim = self._pooled_dim(global_pool)

    @classmethod
    def further_arguments(cls, cfg: Mapping[str, Any]) -> list[str] | None:
        """What ``cfg`` may name besides this class's own arguments: those of its network; None: known when built."""
        name = cfg.get("name")
        return timm_arguments(name) if isinstance(name, str) else None

    def train(self, mode: bool = True) -> TimmBackbone:
        """Set the mode; BatchNorm of an adapted network stays in evaluation mode."""
        super().train(mode)
        for module in self.model.modules() if self.adapted else ():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def parameters_by_depth(self, *, coarse: bool = False) -> list[list[str]]:
        """Names of parameters by depth, from the images on: those of timm's layers, or ``coarse``, of its stages."""
        matcher: Any = getattr(self.model, "group_matcher", None)
        if matcher is None:
            return []
        return [[f"model.{name}" for name in names] for names in group_parameters(self.model, matcher(coarse)).values()]

    def merge_adapter(self) -> None:
        """Add the adapter to the weights of the network, which is then one of timm without an adapter."""
        if self.adapted:
            merge(self.model)
            forget_adapter(self)
            self.adapted = False

    def _checkpoint_gradients(self) -> None:
        moving = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
        if moving and not self.adapted:
            raise ValueError(
                f"grad_checkpointing: the backward pass embeds a batch again, and {len(moving)} BatchNorm layers would "
                "count it twice; set frozen_batch_norm=True, or leave it out"
            )
        try:
            self.model.set_grad_checkpointing(True)  # type: ignore[operator]
        except (AttributeError, AssertionError) as fault:
            raise ValueError(f"grad_checkpointing: timm's {self.name} has none; leave it out") from fault

    def forward(self, images: Tensor) -> Tensor:
        images = images.mean(dim=1, keepdim=True) if self.grey else images
        if self.gives_tokens:
            unpooled = self.model.forward_features(images)  # type: ignore[operator]
            return as_tokens(unpooled, channels_last=getattr(self.model, "output_fmt", "NCHW") == "NHWC")  # (B, T, F)
        features = self.model(images)  # (B, F)
        assert features.shape[1:] == (self.feature_dim,), (self.name, features.shape, self.feature_dim)
        return features

    def _pooled_dim(self, global_pool: str) -> int:
        """How many features come out, from an image of zeros."""
        training = self.model.training
        with torch.no_grad():
            height, width = self.input_size
            features = self.model.eval()(torch.zeros(1, 1 if self.grey else 3, height, width))
        self.model.train(training)
        if features.ndim != 2:
            raise ValueError(
                f"global_pool: {global_pool!r} leaves {self.name}'s features unpooled, {tuple(features.shape[1:])} an "
                'image; take one that pools, such as "avg", or leave it out'
            )
        return int(features.shape[1])


def _check_values(chosen: Mapping[str, Any]) -> None:
    if chosen.get("in_chans", 3) not in (1, 3):
        raise ValueError(
            f"in_chans must be 3, or 1 for grey pictures, got {chosen['in_chans']}: images have 3 channels"
        )
    for key in ("drop_rate", "drop_path_rate"):
        if not 0 <= chosen.get(key, 0) < 1:
            raise ValueError(f"{key} must be at least 0 and below 1, got {chosen[key]}")
    size = chosen.get("img_size", 1)
    sides = [size] if isinstance(size, int) else size
    if not isinstance(sides, (list, tuple)) or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"img_size must be a side in pixels or (height, width), got {size!r}")
    if not isinstance(size, int) and len(sides) != 2:
        raise ValueError(f"img_size must be a side in pixels or (height, width), got {size!r}")


def _check_name(name: str, chosen: Mapping[str, Any]) -> None:
    """Raise ValueError for a ``name`` that timm does not know, or arguments that its network has not."""
    if name.startswith(HUB):
        return
    if name.startswith(FOLDER):
        folder = Path(name.removeprefix(FOLDER))
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"name: {name!r} needs a folder with timm's config.json and weights, and there is no "
                f"{folder / 'config.json'}; timm.models.save_for_hf(model, FOLDER) writes one"
            )
        try:
            architecture = str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["architecture"])
        except (OSError, ValueError, LookupError, TypeError) as fault:
            raise ValueError(
                f"name: {folder / 'config.json'} is not a config.json of timm ({type(fault).__name__}: {fault})"
            ) from fault
        _check_arguments(architecture, chosen)
        return
    if ":" in name or "/" in name:
        raise ValueError(f"name: {name!r} is neither a model of timm nor begins with {HUB!r} or {FOLDER!r}")
    if not timm.is_model(name):
        known = timm.list_models()
        close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        guess = f"did you mean {', '.join(close)}?" if close else "none is spelt alike;"
        raise ValueError(f"name: timm has no model {name!r}; {guess} timm.list_models() lists all {len(known)}")
    _check_arguments(name, chosen)


def _check_arguments(name: str, chosen: Mapping[str, Any]) -> None:
    known = timm_arguments(name)
    if known is not None and (unknown := [key for key in chosen if key not in known]):
        raise ValueError("; ".join(unknown_argument(name, key, known) for key in unknown))


def _create(name: str, pretrained: bool, chosen: Mapping[str, Any], record: Mapping[str, Any] | None) -> Any:
    """The network without its classifier."""
    more = dict(chosen) if record is None else {**chosen, "pretrained_cfg": dict(record)}
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, **more)
    except Exception as fault:  # timm, its hub and their network clients have no common error
        if name.startswith(HUB) and not isinstance(fault, TypeError):
            raise CheckpointError(
                f"name: {name} cannot be read from the hub ({type(fault).__name__}: {fault}); download its config.json "
                f"and weights elsewhere and name their folder, {FOLDER}FOLDER, or take timm's own name of the network"
            ) from fault
        if name.startswith(FOLDER) and not chosen:
            raise CheckpointError(f"name: {name} cannot be read ({type(fault).__name__}: {fault})") from fault
        if not chosen and not pretrained:
            raise
        if pretrained and not isinstance(fault, (TypeError, AssertionError)):
            raise CheckpointError(
                f"pretrained: the weights of timm's {name} cannot be downloaded ({type(fault).__name__}: {fault}); "
                "download them elsewhere and give the file as weights=FILE, or set pretrained=False"
            ) from fault
        told = ", ".join(f"{key}={value!r}" for key, value in chosen.items())
        raise ValueError(f"timm's {name} cannot be built with {told} ({type(fault).__name__}: {fault})") from fault


def _without_source(name: str, model: Any) -> dict[str, Any]:
    """What builds the network of a hub repository or a folder without it; nothing for one of timm's own names."""
    if not name.startswith((HUB, FOLDER)):
        return {}
    kept = ("mean", "std", "input_size", "crop_pct", "crop_mode", "interpolation", "classifier", "first_conv")
    record = {key: model.pretrained_cfg[key] for key in kept if model.pretrained_cfg.get(key) is not None}
    arguments = {key: value for key, value in model.pretrained_model_args.items() if key != "num_classes"}
    return arguments | dict(name=model.pretrained_cfg["architecture"], pretrained_cfg=record)


def _adaption(model: nn.Module, chosen: Mapping[str, Any]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]] | None:
    """What timm does to weights for another image size or number of channels; None where neither was chosen."""
    if "img_size" not in chosen and chosen.get("in_chans", 3) == 3:
        return None
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    first: Any = getattr(model, "pretrained_cfg", {}).get("first_conv") or ()
    layers = [first] if isinstance(first, str) else list(first)

    def adapt(state: dict[str, Tensor]) -> dict[str, Tensor]:
        if convert is not None and "img_size" in chosen:
            state = dict(convert(state, model))
        for layer in layers:
            weight = state.get(f"{layer}.weight")
            if chosen.get("in_chans") == 1 and weight is not None and weight.shape[1] == 3:
                state[f"{layer}.weight"] = adapt_input_conv(1, weight)
        return state

    return adapt


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
