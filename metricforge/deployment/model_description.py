"""Everything about an embedding model but its weights, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class ModelDescription:
    """What it takes to rebuild a model, apart from its weights, and to prepare an image for it.

    Args:
        architecture: component configs ``backbone``, ``head``, ``similarity`` and, if it can classify, ``loss``.
        preprocessing: transform configs, applied in this order to a uint8 image (3, H, W).
        decode: how JPEGs are decoded, "full" or "fast" (at a fraction of their size), as in evaluation.
        batch_size: images that evaluation embeds at once; another size changes the last bits at most.
        num_classes: of the training set; None if unknown.
        class_names: of the training set, indexed by label; empty if unknown.
    """

    architecture: Mapping[str, Any]
    preprocessing: tuple[Mapping[str, Any], ...]
    decode: str = "full"
    batch_size: int = 256
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelDescription:
        """Rebuild the description from the values of ``to_json``.

        Raises:
            ValueError: for a missing or unknown key, or a value of another type.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ValueError(f"it must have the keys {sorted(names)}, got {sorted(values)}")
        if not isinstance(values["architecture"], Mapping) or not isinstance(values["preprocessing"], (list, tuple)):
            raise ValueError("architecture must be an object and preprocessing a list")
        if not all(isinstance(step, Mapping) for step in values["preprocessing"]):
            raise ValueError("preprocessing must hold objects with a type")
        if not all(isinstance(name, str) for name in values["class_names"]):
            raise ValueError("class_names must hold strings")
        batch_size, num_classes = values["batch_size"], values["num_classes"]
        if not isinstance(batch_size, int) or batch_size < 1 or not isinstance(num_classes, (int, type(None))):
            raise ValueError("batch_size must be a whole number >= 1, and num_classes one or null")
        return cls(
            architecture=values["architecture"],
            preprocessing=tuple(values["preprocessing"]),
            decode=str(values["decode"]),
            batch_size=batch_size,
            num_classes=num_classes,
            class_names=tuple(values["class_names"]),
        )
