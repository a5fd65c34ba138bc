"""In how many bits two thresholded embeddings agree."""

from __future__ import annotations

from torch import Tensor

from metricforge.functional.binary_codes import check_packable, pairwise_hamming_distances
from metricforge.functional.embedding_checks import check_count
from metricforge.interfaces import Similarity
from metricforge.registry import SIMILARITIES


@SIMILARITIES.register_module()
class HammingSimilarity(Similarity):
    """Minus the Hamming distance of embeddings thresholded at 0, a whole number in -D..0.

    A value above 0 is a one, any other a zero (Zhai and Wu, 2018, section 4.2). Searched as packed bits, D / 8 bytes a
    vector. It has no gradient: for searching and mining, not for a loss.

    Args:
        dim: D, a multiple of 8, filled in from a config's model so that an odd size is found before training; None: not
            known yet, and an odd size is refused by the search.

    Raises:
        ValueError: for another ``dim``.
    """

    search = "hamming"

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        if dim is not None:
            check_count("dim", dim)
            check_packable(dim)

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        return -pairwise_hamming_distances(x, y)

    def prepare(self, embeddings: Tensor) -> Tensor:
        return (embeddings > 0).float()
