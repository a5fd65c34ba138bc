"""Similarities that a matrix product can tell, with a bound on what the rounding of each kind of number gets wrong."""

from __future__ import annotations

from functools import cached_property
from typing import Literal, NamedTuple

import faiss
import torch
from torch import Tensor

from metricforge.arrays import Array
from metricforge.common_offset import SMALL
from metricforge.evaluation.search.blas import products
from metricforge.evaluation.search.duplicate_rows import first_duplicates
from metricforge.evaluation.search.prepared_embeddings import is_prepared, prepared_embeddings
from metricforge.interfaces import Similarity
from metricforge.large_arrays import ROWS_AT_ONCE

UNIT_LENGTH = 1e-5  # that lengths of normalised rows may differ from 1 by
UNIT_ROUNDOFF = 2.0**-24  # of float32
DOUBLE_ROUNDOFF = 2.0**-53
PAIR_NUMBERS_AT_ONCE = 2**17  # doubles that one step of the exact comparison holds: they stay in a cache
GALLERY_NUMBERS_AT_ONCE = 2**22  # doubles of the gallery that one step of a float64 product holds


class _Bfloat16Gallery(NamedTuple):
    """The centred gallery (G, D') in bfloat16, its longest row, and the largest length of what rounding took."""

    rows: Tensor
    longest: float
    longest_residual: float


class InnerProductScores:
    """Scores that rank a gallery as a similarity with ``search`` "l2" or "ip" does, for one block of queries at a time.

    ``rough`` and ``double`` are one matrix product, in float32 and float64, each with a bound on its error; so is that
    of ``bfloat16_queries`` and ``bfloat16_images``. ``exact`` compares in float64, pair by pair, so that it depends
    neither on the block nor on the position of the pair: identical images score identically. All work on what
    ``prepare`` returns, rounded to float32; where these rows are nearly the same, their mean is taken from them first.

    Args:
        queries: (Q, D), or None to search the gallery with itself.
        gallery: (G, D).

    Raises:
        ValueError: for embeddings so long that their products exceed float32.
    """

    def __init__(
        self,
        queries: Array | None,
        gallery: Array,
        similarity: Similarity,
        device: torch.device,
    ) -> None:
        assert similarity.search in ("l2", "ip")
        self._search: Literal["l2", "ip"] = similarity.search
        self._gallery = prepared_embeddings(gallery, similarity, device)  # (G, D)
        self._queries = self._gallery if queries is None else prepared_embeddings(queries, similarity, device)  # (Q, D)
        centre = self._shared_centre(queries, gallery, similarity)
        if centre is not None:
            self._search = "l2"  # which ranks unit vectors as their products do
            self._gallery = prepared_embeddings(gallery, similarity, device, centre)
            self._queries = self._gallery
            if queries is not None:
                self._queries = prepared_embeddings(queries, similarity, device, centre)
        # Moving the origin changes no ranking, and where all embeddings are nearly the same it keeps float32 sharp.
        self._centre = self._gallery.mean(dim=0)  # (D,)
        self._longest = _longest(self._gallery, self._centre)
        longest_image = _longest(self._gallery, torch.zeros_like(self._centre))
        if self._longest < longest_image / 2:
            self._centred = self._gallery - self._centre  # (G, D)
        else:  # less than a bit is gained: not worth a second copy
            self._centred, self._longest = self._gallery, longest_image
            self._centre = torch.zeros_like(self._centre)
        self._half_squares = _half_squares(self._centred) if self._search == "l2" else None  # (G,)
        longest_query = float(self._queries.norm(dim=1).max() + self._centre.norm())
        if not (longest_query + self._longest) ** 2 < torch.finfo(torch.float32).max:
            raise ValueError(
                f"embeddings are too long to be searched in float32 (length {max(longest_query, self._longest):.3g}); "
                "scale or normalise them"
            )
        # Far from the ends of float32's range no product is lost to underflow.
        self.is_moderate = max(longest_query, self._longest) < 1e12 and self._longest > 1e-12

    def _shared_centre(self, queries: Array | None, gallery: Array, similarity: Similarity) -> Tensor | None:
        """What to take (D',), in float64, from all rows before they are rounded to float32, or None for nothing.

        Rows that are nearly the same keep their digits only then. Nothing is gained where the embeddings are float32
        and compared as they are, and nothing may be moved where products of rows of other lengths than 1 rank.
        """
        if all(is_prepared(rows, similarity) for rows in (queries, gallery) if rows is not None):
            return None
        centre = self._gallery.mean(dim=0, dtype=torch.float64)  # (D',)
        apart = length = 0.0
        unit = True
        for block in self._gallery.split(ROWS_AT_ONCE):  # type: ignore[no-untyped-call]
            lengths = block.norm(dim=1)  # (g,)
            unit = unit and bool((lengths - 1).abs().max() < UNIT_LENGTH)
            length += float(lengths.sum())
            apart += float((block - centre.float()).norm(dim=1).sum())
        return centre if apart < SMALL * length and (unit or self._search == "l2") else None

    def rough(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Scores (b, G) in float32 of queries ``start:stop``, larger = nearer, and the slack of each query (b,).

        Two scores further apart than the slack are in the right order.
        """
        scores, error = self.single(torch.arange(start, stop, device=self._gallery.device))
        return scores, (2 * error).float()

    def single(self, queries: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores (b, G) in float32 of ``queries`` (b,), and what they may be wrong by (b,), in float64."""
        rows = self._centred_queries(queries)  # (b, D)
        scores = products(rows, self._centred, out=out)
        if self._half_squares is not None:  # -|q - g|^2 / 2 + |q|^2 / 2
            scores -= self._half_squares
        return scores, self._error_of_single(rows)

    def single_pairs(self, queries: Tensor, images: Tensor) -> Tensor:
        """Inner products or minus half the squared distances (P,) in float32 of pairs of places, on the host."""
        assert self._gallery.device.type == "cpu"
        distinct, place = torch.unique(queries, return_inverse=True)
        rows = self._centred_queries(distinct).contiguous()
        scores = torch.empty(len(queries))
        images = images.contiguous()
        faiss.pairwise_indexed_inner_product(  # type: ignore[attr-defined]
            rows.shape[1],
            len(queries),
            faiss.swig_ptr(rows.numpy()),
            faiss.swig_ptr(place.numpy()),
            faiss.swig_ptr(self._centred.numpy()),
            faiss.swig_ptr(images.numpy()),
            faiss.swig_ptr(scores.numpy()),
        )
        if self._half_squares is None:
            return scores
        return scores - self._half_squares[images] - _half_squares(rows)[place]

    def single_pairs_error(self, queries: Tensor) -> Tensor:
        """What ``single_pairs`` may be wrong by for ``queries`` (b,), in float64."""
        return self._error_of_pairs(self._centred_queries(queries))

    def bfloat16_queries(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (b, D') in bfloat16 of ``queries`` (b,), and the error of their products with ``bfloat16_images`` (b,).

        That is before these are rounded: as rounding keeps the order, who scores above x is not rounded to below what x
        is rounded to. The bound is ``|q.g - q'.g'| <= |q - q'||g| + |q'||g - g'|`` for rounded q', g' by Cauchy and
        Schwarz, from the lengths of what rounding took, and what summing in float32 adds, with two roundings a term.
        """
        gallery = self._bfloat16_gallery
        rows = self._centred_queries(queries)  # (b, D)
        halved = rows.bfloat16()
        residual = (rows - halved.float()).norm(dim=1).double()  # (b,)
        length = halved.float().norm(dim=1).double()  # (b,)
        size = length * gallery.longest  # (b,)
        if self._half_squares is not None:
            squares = _half_squares(rows)  # (b,)
            size += squares + self._longest**2 / 2
            halved = torch.cat([halved, torch.ones(len(rows), 3).bfloat16(), _in_three_parts(-squares)], dim=1)
        error = 1.001 * (residual * self._longest + length * gallery.longest_residual)
        error += 2.2 * (rows.shape[1] + 16) * UNIT_ROUNDOFF * size + self._error_of_pairs(rows)
        return halved, error

    @property
    def bfloat16_images(self) -> Tensor:
        """The gallery's rows (G, D') in bfloat16, for products with those of queries."""
        return self._bfloat16_gallery.rows

    @property
    def bfloat16_is_symmetric(self) -> bool:
        """Whether the queries are the gallery's images, and score as these do with them."""
        return self._queries is self._gallery and (self._search == "l2" or self._centred is self._gallery)

    def double(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (b, G) in float64 of ``queries`` (b,), and what they and ``exact`` may differ by (b,)."""
        rows = self._queries[queries].double()  # (b, D)
        centre = self._centre.double()
        rows = rows - centre if self._search == "l2" else rows
        scores = rows.new_empty(len(rows), len(self._gallery))
        step = max(1, GALLERY_NUMBERS_AT_ONCE // self._gallery.shape[1])
        for start in range(0, len(self._gallery), step):
            images = self._small_double_gallery  # (g, D)
            if images is None:
                images = self._gallery[start : start + step].double() - centre
            part = products(rows, images)
            scores[:, start : start + step] = part - _half_squares(images) if self._search == "l2" else part
        size = (rows.norm(dim=1) + self._longest + centre.norm()) ** 2  # (b,)
        return scores, 4 * (rows.shape[1] + 8) * DOUBLE_ROUNDOFF * size

    def exact(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Scores (P,) in float64 of the pairs (``queries[p]``, ``candidates[p]``), larger = nearer."""
        if not len(queries):
            return torch.empty(0, dtype=torch.float64, device=queries.device)
        pairs = queries * len(self._gallery) + self.first_duplicate[candidates]  # (P,)
        pairs, of_pair = torch.unique(
            pairs, return_inverse=True
        )  # equal images are compared once: a collapsed model has many
        scores = torch.empty(len(pairs), dtype=torch.float64, device=pairs.device)
        step = max(1, PAIR_NUMBERS_AT_ONCE // self._gallery.shape[1])
        for start in range(0, len(pairs), step):
            block = pairs[start : start + step]
            query = self._queries[block // len(self._gallery)].double()  # (p, D)
            image = self._gallery[block % len(self._gallery)].double()  # (p, D)
            terms = (query - image).square().neg() if self._search == "l2" else query * image
            scores[start : start + step] = terms.sum(dim=1)
        return scores[of_pair]

    @cached_property
    def first_duplicate(self) -> Tensor:
        """The first gallery image (G,) with the same embedding, for each; its own index where there is no other."""
        return first_duplicates(self._gallery)

    @cached_property
    def _small_double_gallery(self) -> Tensor | None:
        """The centred gallery (G, D) in float64 where one step holds all of it."""
        if self._gallery.numel() > GALLERY_NUMBERS_AT_ONCE:
            return None
        return self._gallery.double() - self._centre.double()

    def _centred_queries(self, queries: Tensor) -> Tensor:
        rows = self._queries[queries]  # (b, D)
        return rows - self._centre if self._search == "l2" else rows

    def _error_of_single(self, rows: Tensor) -> Tensor:
        # |fl(q.g) - q.g| <= D u |q||g| in whatever order it is summed; 16 u covers the centring and comparing with a
        # score and this error added, 1.1 the terms in u^2.
        size = rows.norm(dim=1).double() * self._longest  # (b,)
        if self._search == "l2":
            size = size + self._longest**2 / 2
        error = 1.1 * (rows.shape[1] + 16) * UNIT_ROUNDOFF * size
        return error + rows.shape[1] * torch.finfo(torch.float32).tiny

    def _error_of_pairs(self, rows: Tensor) -> Tensor:
        error = self._error_of_single(rows)
        if self._half_squares is not None:  # another square, summed and subtracted
            error = error + 1.1 * (rows.shape[1] + 16) * UNIT_ROUNDOFF * _half_squares(rows).double()
        return error

    @cached_property
    def _bfloat16_gallery(self) -> _Bfloat16Gallery:
        count, dimensions = self._centred.shape
        extra = 0 if self._half_squares is None else 6
        halved = torch.empty(count, dimensions + extra, dtype=torch.bfloat16)
        longest = longest_residual = 0.0
        for start in range(0, count, ROWS_AT_ONCE):
            block = self._centred[start : start + ROWS_AT_ONCE]  # (g, D)
            rows = block.bfloat16()
            longest = max(longest, float(rows.float().norm(dim=1).max()))
            longest_residual = max(longest_residual, float((block - rows.float()).norm(dim=1).max()))
            halved[start : start + ROWS_AT_ONCE, :dimensions] = rows
        if self._half_squares is not None:
            halved[:, dimensions : dimensions + 3] = _in_three_parts(-self._half_squares)
            halved[:, dimensions + 3 :] = 1
        return _Bfloat16Gallery(halved, longest, longest_residual)


def _half_squares(rows: Tensor) -> Tensor:
    """Half the squared length (N,) of ``rows`` (N, D)."""
    return torch.einsum("nd,nd->n", rows, rows) / 2


def _in_three_parts(numbers: Tensor) -> Tensor:
    """Float32 ``numbers`` (N,) as sums of three of bfloat16 (N, 3): 24 bits are three times 8."""
    parts = []
    for _ in range(3):
        parts.append(numbers.bfloat16())
        numbers = numbers - parts[-1].float()
    return torch.stack(parts, dim=1)


def _longest(rows: Tensor, centre: Tensor) -> float:
    """How far the furthest of ``rows`` (N, D) is from ``centre`` (D,)."""
    return max(float((block - centre).norm(dim=1).max()) for block in rows.split(ROWS_AT_ONCE))  # type: ignore[no-untyped-call]
