"""What is searched in what: queries, gallery, which gallery index is the query itself, and which images match."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from metricforge.arrays import Array, Flags, Indices
from metricforge.structures import EmbeddingSet


class RetrievalTask:
    """Queries and the gallery they are searched in, without a similarity: whatever ranks it, this stays the same.

    Args:
        queries: the embedded images to search with.
        gallery: the images to search. None searches the queries' own set, where each query is left out of its own
            ranking.
        shared_ids: whether an id names the same image in queries and gallery, so that a query that is in the gallery
            too is left out of its own ranking. Otherwise ids of the two sets are not compared.

    Raises:
        ValueError: for an empty set, queries given as gallery, or sets of different dimensions.
    """

    def __init__(self, queries: EmbeddingSet, gallery: EmbeddingSet | None = None, shared_ids: bool = False) -> None:
        if gallery is queries:
            raise ValueError("gallery is the query set itself; leave it out, so that no query finds itself")
        for name, images in (("queries", queries), ("gallery", gallery)):
            if images is not None and not len(images):
                raise ValueError(f"{name} must hold at least one embedding, got shape {images.embeddings.shape}")
        if gallery is not None and gallery.embeddings.shape[1] != queries.embeddings.shape[1]:
            raise ValueError(
                f"gallery has {gallery.embeddings.shape[1]} dimensions and queries {queries.embeddings.shape[1]}; "
                "embed both with the same model"
            )
        self.queries = queries
        self.gallery = queries if gallery is None else gallery
        self.searches_itself = gallery is None
        self.shared_ids = shared_ids or self.searches_itself

    @property
    def query_embeddings(self) -> Array | None:
        """The queries' embeddings (Q, D), or None where they are those of the gallery."""
        return None if self.searches_itself else self.queries.embeddings

    @cached_property
    def self_index(self) -> Indices:
        """The gallery index of each query itself (Q,), -1 for queries that are not in the gallery."""
        if self.searches_itself:
            return np.arange(len(self.queries))
        if not self.shared_ids:
            return np.full(len(self.queries), -1)
        assert self.queries.ids is not None
        assert self.gallery.ids is not None
        order = np.argsort(self.gallery.ids)
        nth = np.searchsorted(self.gallery.ids, self.queries.ids, sorter=order).clip(max=len(order) - 1)  # (Q,)
        index = order[nth]
        return np.where(self.gallery.ids[index] == self.queries.ids, index, -1)

    @property
    def gallery_size(self) -> int:
        """How many images every query can find: the gallery, less one where a query is in it."""
        return len(self.gallery) - bool((self.self_index >= 0).any())

    @cached_property
    def matches(self) -> Indices:
        """How many gallery images are of each query's class (Q,), the query itself not counted."""
        classes, counts = np.unique(self.gallery.labels, return_counts=True)
        nth = np.searchsorted(classes, self.queries.labels).clip(max=len(classes) - 1)  # (Q,)
        in_gallery = classes[nth] == self.queries.labels
        return np.where(in_gallery, counts[nth], 0).astype(np.int64) - (self.self_index >= 0)

    @property
    def has_match(self) -> Flags:
        """Which queries (Q,) have a match; the others are left out of retrieval scores."""
        return self.matches > 0

    @property
    def queries_without_match(self) -> int:
        """How many queries have no match."""
        return int((self.matches == 0).sum())

    @property
    def num_classes(self) -> int:
        """Classes among the queries."""
        return len(np.unique(self.queries.labels))
