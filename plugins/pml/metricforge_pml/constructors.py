"""Constructors with every argument by name: pytorch-metric-learning passes most of them up as ``**kwargs``.

MetricForge checks a config against a constructor's signature, and fills in ``dim`` and ``num_classes`` by it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

from pytorch_metric_learning.distances import BaseDistance
from pytorch_metric_learning.reducers import BaseReducer
from pytorch_metric_learning.regularizers import BaseRegularizer
from torch import nn

PREFIX = "pml."

# pytorch-metric-learning has three names for the embedding's size; here it is ``dim``, which the framework fills in.
DIM_NAMES = ("embedding_size", "descriptors_dim", "l")

# What a class sets itself when it calls its base class, so that nobody else can.
FIXED = {
    "AvgNonZeroReducer": {"low"},
    "BatchHardMiner": {"pos_strategy", "neg_strategy"},
    "CosineSimilarity": {"normalize_embeddings"},
    "DotProductSimilarity": {"is_inverted"},
    "GenericPairLoss": {"mat_based_loss"},
    "LpDistance": {"is_inverted"},
    "SNRDistance": {"is_inverted"},
    "VICRegLoss": {"distance", "embedding_regularizer", "embedding_reg_weight"},
}

PART_CLASSES = {
    "distance": (BaseDistance, "distance", "pml.LpDistance"),
    "reducer": (BaseReducer, "reducer", "pml.MeanReducer"),
    "default_reducer": (BaseReducer, "reducer", "pml.MeanReducer"),
    "embedding_regularizer": (BaseRegularizer, "regularizer", "pml.LpRegularizer"),
    "weight_regularizer": (BaseRegularizer, "regularizer", "pml.LpRegularizer"),
}


def pml_arguments(pml_class: type) -> dict[str, Parameter]:
    """The arguments of ``pml_class`` by their names in pytorch-metric-learning, keyword-only.

    Its own and those of the bases that it passes ``**kwargs`` to, without those that it sets itself.
    """
    arguments: dict[str, Parameter] = {}
    fixed: set[str] = set()
    for base in pml_class.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]  # without self
        fixed |= FIXED.get(base.__name__, set())
        for parameter in parameters:
            if parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) and parameter.name not in fixed:
                keyword = parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=Parameter.empty)
                arguments.setdefault(parameter.name, keyword)
        if not any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
            break
    return arguments


def our_arguments(pml_class: type) -> dict[str, Parameter]:
    """The arguments of ``pml_class`` by the name here: the embedding's size is ``dim``."""
    renamed = (
        parameter.replace(name="dim") if parameter.name in DIM_NAMES else parameter
        for parameter in pml_arguments(pml_class).values()
    )
    return {parameter.name: parameter for parameter in renamed}


def construct(pml_class: type, arguments: Mapping[str, Any]) -> Any:
    """A ``pml_class`` from arguments by their names here.

    Raises:
        ValueError: for arguments that it refuses, or a part that is not one of that package's own.
    """
    their_names = {"dim" if name in DIM_NAMES else name: name for name in pml_arguments(pml_class)}
    given = {their_names[name]: unwrap(value) for name, value in arguments.items()}
    for name, value in given.items():
        if name in PART_CLASSES and value is not None:
            base, kind, example = PART_CLASSES[name]
            if not isinstance(value, base):
                raise ValueError(
                    f"{name} of {PREFIX}{pml_class.__name__} must be a {kind} of pytorch-metric-learning, "
                    f'such as dict(type="{example}"), got {value!r}'
                )
    try:
        return pml_class(**given)
    except Exception as error:  # it refuses arguments by assert, ValueError or Exception
        raise ValueError(
            f"{PREFIX}{pml_class.__name__} refuses these arguments ({', '.join(given) or 'none'}): "
            f"{str(error) or type(error).__name__}"
        ) from error


def unwrap(value: Any) -> Any:
    """The pytorch-metric-learning object inside an adapter, in lists and dicts too; anything else as it is."""
    if isinstance(value, Mapping):
        return {key: unwrap(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [unwrap(part) for part in value]
    return getattr(value, "wrapped", value) if isinstance(value, nn.Module) else value


def signature_of(parameters: Mapping[str, Parameter], *, method: bool) -> Signature:
    """A signature of ``parameters``, those without a default first, after ``self`` for a method."""
    ordered = sorted(parameters.values(), key=lambda parameter: parameter.default is not Parameter.empty)
    return Signature(([Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)] if method else []) + ordered)


def explicit_constructor(base: type, parameters: Mapping[str, Parameter]) -> Callable[..., None]:
    """An ``__init__`` that takes ``parameters`` and no other, and hands those that were given to that of ``base``.

    What ``base`` can find wrong with them only once it is built, its ``check_parts`` does.
    """
    signature = signature_of(parameters, method=True)

    def __init__(self: Any, **arguments: Any) -> None:  # noqa: N807
        signature.bind(self, **arguments)  # a TypeError names what is missing or not known
        base.__init__(self, **arguments)  # type: ignore[misc]
        if hasattr(base, "check_parts"):
            self.check_parts(arguments)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__
