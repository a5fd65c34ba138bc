"""The adapter of EmbeddingsAlreadyPackagedAsTriplets."""

from __future__ import annotations

from torch import Tensor

from metricforge import DirectedPairs, Triplets
from metricforge_pml.pml_miner import PMLMiner


class PMLPackagedTriplets(PMLMiner):
    """The batch's rows, three by three, as triplets: for a sampler that puts them so.

    Raises:
        ValueError: for a batch that is not put so, by its labels.
    """

    takes_references = False

    def mine(
        self, embeddings: Tensor, labels: Tensor, ref_emb: Tensor | None = None, ref_labels: Tensor | None = None
    ) -> DirectedPairs | Triplets:
        kinds = labels.view(-1, 3) if len(labels) % 3 == 0 else None  # (T, 3)
        if kinds is None or not ((kinds[:, 0] == kinds[:, 1]) & (kinds[:, 0] != kinds[:, 2])).all():
            raise ValueError(
                "the batch is not packaged as anchor, positive, negative, anchor, ...; take a sampler that puts it so, "
                "or another miner"
            )
        return super().mine(embeddings, labels, ref_emb, ref_labels)
