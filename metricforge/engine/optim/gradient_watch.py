"""Names trained parameters that no loss has reached."""

from __future__ import annotations

import warnings
from functools import partial

from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.hooks import RemovableHandle


class UntrainedParameterWarning(UserWarning):
    """A parameter that is to be trained got no gradient in a whole epoch."""


class GradientWatch:
    """Watches which trained parameters of ``model`` get a gradient, until ``report`` names those that got none.

    A row of a table that no batch touches is no fault, as long as another row is touched. Weights that are spread over
    the processes are not watched: torch sets their gradients itself.
    """

    def __init__(self, model: nn.Module) -> None:
        self._waiting: dict[str, RemovableHandle] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not isinstance(parameter, DTensor):
                hook = parameter.register_post_accumulate_grad_hook(partial(self._seen, name))  # type: ignore[no-untyped-call]
                self._waiting[name] = hook

    def _seen(self, name: str, parameter: Tensor) -> None:
        self._waiting.pop(name).remove()

    def stop(self) -> None:
        """Stop watching, and say nothing: in an epoch that was not whole a parameter may have had no turn."""
        for handle in self._waiting.values():
            handle.remove()
        self._waiting.clear()

    def report(self) -> str:
        """Warn of the parameters without a gradient, once, and stop watching; the warning's text, or nothing."""
        names = list(self._waiting)
        self.stop()
        if not names:
            return ""
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        text = (
            f"{shown} got no gradient in a whole epoch, so training leaves {'it' if len(names) == 1 else 'them'} as "
            "initialised; see that the loss depends on it, or freeze it (requires_grad=False)"
        )
        warnings.warn(text, UntrainedParameterWarning, stacklevel=2)
        return text
