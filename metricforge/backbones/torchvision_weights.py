"""Torchvision's pretrained weights by their names, such as ``IMAGENET1K_V1``."""

from __future__ import annotations

import re
from pathlib import Path

from torchvision.models import get_model_weights

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


def torchvision_weights(model: str, weights: str | Path | None, pretrained: bool) -> str | None:
    """Return the name of the weights that torchvision downloads for ``model``, as torchvision now calls them.

    ``weights`` is such a name or a file, of which None is returned; without it ``pretrained`` means torchvision's
    default, which a later version may change: ResNet-50's was ``IMAGENET1K_V1`` (top-1 76.1) and is ``IMAGENET1K_V2``
    (80.9) now. A word in capitals is a name unless there is a file of that name.

    Raises:
        ValueError: for a name that torchvision does not have for ``model``.
    """
    if weights is None:
        return str(get_model_weights(model).DEFAULT.name) if pretrained else None  # type: ignore[attr-defined]
    if not isinstance(weights, str) or not _NAME.fullmatch(weights) or Path(weights).is_file():
        return None
    known = get_model_weights(model)
    if weights not in known.__members__:
        names = ", ".join(entry.name for entry in known)
        raise ValueError(
            f"weights: torchvision's {model} has no weights called {weights!r}, and there is no such file; "
            f"choose among {names}, or give the path of a .pth or .safetensors file"
        )
    return str(known[weights].name)
