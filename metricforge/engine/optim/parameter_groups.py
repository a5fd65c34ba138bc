"""Learning rates by parameter name, in as few optimizer groups as there are different settings."""

from __future__ import annotations

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from metricforge.errors import ConfigError


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
class ParameterGroups(DefaultOptimWrapperConstructor):
    """mmengine's ``paramwise_cfg`` with like parameters in one group, and misspelt keys refused.

    ``paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)})``: parameters whose name contains the key get the
    learning rate times ``lr_mult``. Stock, that makes a group of every parameter (162 for a ResNet-50), on which fused
    optimizers gain nothing, and a key that matches no parameter does nothing, silently.

    Raises:
        ConfigError: for a custom key that no trainable parameter's name contains.
    """

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
        wrapper = super().__call__(model)
        groups: dict[str, dict[str, object]] = {}
        for group in wrapper.optimizer.param_groups:
            settings = repr(sorted((key, value) for key, value in group.items() if key != "params"))
            if settings in groups:
                groups[settings]["params"] += group["params"]  # type: ignore[operator]
            else:
                groups[settings] = group
        wrapper.optimizer.param_groups[:] = list(groups.values())
        return wrapper
