"""Whatever holds numbers or text as a numpy array: lists, tensors on any device, arrays of other libraries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Union

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from metricforge.arrays import Array
from metricforge.errors import EmbeddingsError

if TYPE_CHECKING:
    Values = Union[ArrayLike, Tensor, Sequence[Tensor]]  # noqa: UP007


def array_of(values: Values, name: str, source: str) -> Array:
    """``values`` as an array, without a copy where numpy can see them as they are.

    Of a tensor the values alone, off the graph and on the host; types that numpy has not, such as bfloat16, become
    float32, which holds them exactly. Text of any length, also as objects, becomes numpy's text.

    Raises:
        EmbeddingsError: for rows of different lengths, or what is no array at all, named ``name`` of ``source``.
    """
    if isinstance(values, (list, tuple)) and values and all(isinstance(value, Tensor) for value in values):
        lengths = sorted({tuple(value.shape) for value in values})
        if len(lengths) > 1:
            raise EmbeddingsError(
                f"{source}: {name} must be of one shape, got tensors of {lengths[0]} and {lengths[-1]}"
            )
        values = torch.stack([value.detach() for value in values])
    if isinstance(values, Tensor):
        return _of_tensor(values, name, source)
    try:
        array = values if isinstance(values, np.ndarray) else np.asarray(values)  # a memory-mapped one stays so
    except (ValueError, TypeError, RuntimeError) as fault:  # rows of different lengths, a list of tensors and numbers
        raise EmbeddingsError(
            f"{source}: {name} cannot be made an array ({fault}); every row must have as many numbers"
        ) from fault
    if array.dtype == object and array.size and all(isinstance(value, str) for value in array.flat):
        return array.astype(str)
    return array


def _of_tensor(tensor: Tensor, name: str, source: str) -> Array:
    if tensor.layout != torch.strided or tensor.is_meta:
        kind = "a meta tensor" if tensor.is_meta else f"a tensor of layout {tensor.layout}"
        raise EmbeddingsError(
            f"{source}: {name} must be an ordinary tensor, got {kind}; call .to_dense() on a sparse one"
        )
    tensor = tensor.detach().cpu()
    try:
        return tensor.resolve_conj().resolve_neg().numpy()
    except TypeError:  # numpy has no such type
        return tensor.to(torch.float32).numpy()
