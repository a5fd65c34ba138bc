"""Stops a run whose loss, gradients or state are NaN or infinite, and names the batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from metricforge.errors import NonFiniteLossError
from metricforge.models.own_rows import own_rows

WAYS_OUT = (
    "The weights are no longer usable; the checkpoints written before are. Ways out: a smaller "
    "optim_wrapper.optimizer.lr, optim_wrapper.clip_grad=dict(max_norm=1), a look at these images"
)


def refuse_non_finite(epoch: int, iteration: int, ids: Tensor, scalars: Mapping[str, float]) -> None:
    """Raise an error if the total loss of a batch, or its largest gradient, is NaN or infinite.

    Args:
        epoch: of the batch, from 0 on.
        iteration: of the batch within its run, from 0 on.
        ids: of the samples (B,).
        scalars: the total, ``loss``, the loss's parts, and perhaps ``the largest gradient``.

    Raises:
        NonFiniteLossError: names epoch, iteration, all scalars and the samples, and the ways out.
    """
    total, others = scalars["loss"], [n for n in scalars if n != "loss" and not n.startswith("loss/")]
    what = ["the loss"] * (not math.isfinite(total)) + [n for n in others if not math.isfinite(scalars[n])]
    if not what:
        return
    listed = ", ".join(f"{name} {value:g}" for name, value in scalars.items())
    value = total if what[0] == "the loss" else scalars[what[0]]
    raise NonFiniteLossError(
        f"{what[0]} became {value:g} at epoch {epoch + 1}, iteration {iteration + 1} ({listed}), "
        f"on the batch of {len(ids)} samples with ids {_shown(ids)}. {WAYS_OUT}",
        epoch=epoch,
        iteration=iteration,
        ids=ids.tolist(),
        scalars=dict(scalars),
    )


def refuse_non_finite_state(
    model: nn.Module, epoch: int, iteration: int, gather: Callable[[list[bool]], list[list[bool]]]
) -> None:
    """Raise an error if a weight or a buffer of ``model`` is NaN or infinite after ``iteration`` updates.

    Infinite running statistics of BatchNorm leave the loss as it is, and end every evaluation.

    Args:
        model: what is trained.
        epoch: from 0 on.
        iteration: how many updates were done.
        gather: gives the value of each process that holds other rows than this one on all of them; all call it.

    Raises:
        NonFiniteLossError: on all of them, if one has such a row; names the tensors.
    """
    names = [name for name, tensor in model.state_dict().items() if tensor.is_floating_point()]
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    if not tensors:
        return
    flags = torch.stack([own_rows(tensor).isfinite().all() for tensor in tensors]).tolist()
    of_all = zip(*gather(flags), strict=True)
    broken = [name for name, finite in zip(names, of_all, strict=True) if not all(finite)]
    if not broken:
        return
    shown = ", ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")
    raise NonFiniteLossError(
        f"{shown} {'is' if len(broken) == 1 else 'are'} not finite after epoch {epoch + 1}, iteration {iteration}, "
        f"although the losses are. {WAYS_OUT}",
        epoch=epoch,
        iteration=iteration - 1,
        ids=[],
        scalars={},
    )


def _shown(ids: Tensor) -> str:
    return ", ".join(str(i) for i in ids[:8].tolist()) + (", ..." if len(ids) > 8 else "")
