"""Learning rates by parameter name, in as few optimizer groups as there are different settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from metricforge.engine.optim.paramwise_options import paramwise_faults
from metricforge.errors import ConfigError
from metricforge.interfaces import Backbone


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class ParameterGroups(DefaultOptimWrapperConstructor):
    """mmengine's ``paramwise_cfg`` with like parameters in one group, and misspelt keys refused.

    ``paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)})``: parameters whose name contains the key get the
    learning rate times ``lr_mult``. Stock, that makes a group of every parameter (162 for a ResNet-50), on which fused
    optimizers gain nothing, and a key that matches no parameter does nothing, silently.

    ``paramwise_cfg=dict(layer_decay=0.75)``: the backbone's layer next to the head gets its learning rate, and each one
    before it 0.75 times that of the next (``Backbone.parameters_by_depth``), besides what custom keys say.

    Raises:
        ConfigError: for a key or a factor that ``paramwise_cfg`` cannot have, for a custom key that no trainable
            parameter's name contains, and for a ``layer_decay`` outside 0..1, or of a backbone that does not say its
            layers or trains none.
    """

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        self.decays = optim_wrapper_cfg["optimizer"].get("weight_decay") is not None
        faults = paramwise_faults(paramwise_cfg, decays=self.decays)
        if faults:
            raise ConfigError(faults)
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        idle = [key for key in self.paramwise_cfg.get("custom_keys", {}) if not any(key in name for name in names)]
        if idle:
            known = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ConfigError(
                [
                    f'optim_wrapper.paramwise_cfg.custom_keys: "{key}" is in the name of no trainable parameter; '
                    f"they begin with {', '.join(known)}"
                    for key in idle
                ]
            )
        scales = self._scales_by_depth(model)
        wrapper = super().__call__(model)
        faults = paramwise_faults(self.paramwise_cfg, wrapper.optimizer.defaults, decays=self.decays)
        if faults:
            raise ConfigError(faults)
        if scales:
            for group in wrapper.optimizer.param_groups:  # one for each parameter
                group["lr"] *= scales.get(id(group["params"][0]), 1.0)
        groups: dict[str, dict[str, object]] = {}
        for group in wrapper.optimizer.param_groups:
            settings = repr(sorted((key, value) for key, value in group.items() if key != "params"))
            if settings in groups:
                groups[settings]["params"] += group["params"]  # type: ignore[operator]
            else:
                groups[settings] = group
        wrapper.optimizer.param_groups[:] = list(groups.values())
        return wrapper

    def _scales_by_depth(self, model: nn.Module) -> dict[int, float]:
        """What the learning rate of a backbone's parameter, by its id, is multiplied by."""
        decay = self.paramwise_cfg.get("layer_decay")
        if decay is None:
            return {}
        path, backbone = "optim_wrapper.paramwise_cfg.layer_decay", getattr(model, "backbone", None)
        layers = backbone.parameters_by_depth() if isinstance(backbone, Backbone) else ()
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        scales = {
            id(trained[f"backbone.{name}"]): float(decay) ** (len(layers) - 1 - depth)
            for depth, names in enumerate(layers)
            for name in names
            if f"backbone.{name}" in trained
        }
        if not scales:
            why = "trains no layer" if layers else "does not say its layers"
            raise ConfigError([f"{path}: {type(backbone).__name__} {why}, so it changes nothing; leave it out"])
        return scales
