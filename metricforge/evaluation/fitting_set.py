"""Embeddings of other images than those that are scored, for what has to be fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class FittingSet:
    """``embeddings`` (N, D) by the same model, such as those of the training set.

    Args:
        embeddings: of any float type.
        source: what the protocol calls it, such as a file's name.
        fingerprint: of the images, the same for two models' embeddings of them: scores that were fitted on sets of two
            fingerprints do not compare.
    """

    embeddings: np.ndarray[Any, np.dtype[Any]]
    source: str
    fingerprint: str
