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
from metricforge.evaluation.search.float64_rows import DOUBLE_ROUNDOFF, Float64Rows
from metricforge.interfaces import Similarity
from metricforge.large_arrays import ROWS_AT_ONCE

UNIT_ROUNDOFF = 2.0**-24  # of float32
TINY = torch.finfo(torch.float32).tiny
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
    neither on the block nor on the position of the pair: identical images score identically. These two work on what
    ``prepare`` returns in float64, the others on that rounded to float32, which their bounds know of; where these rows
    are nearly the same, their mean is taken from them first.

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
        self._gallery_rows = Float64Rows(gallery, similarity, device)
        self._query_rows = self._gallery_rows if queries is None else Float64Rows(queries, similarity, device)
        sets = (self._query_rows, self._gallery_rows)
        self._is_rounded = any(rows.is_rounded for rows in sets)
        self._is_normalised = self._search == "ip" and all(rows.is_normalised for rows in sets)
        self._has_zeros = any(rows.has_zeros for rows in sets)
        self._gallery = self._gallery_rows.in_float32  # (G, D)
        self._queries = self._query_rows.in_float32  # (Q, D)
        self._offset = self._shared_offset()
        if self._offset is not None:
            self._search = "l2"  # which ranks unit vectors as their products do
            self._gallery = self._gallery_rows.less(self._offset)
            self._queries = self._gallery if queries is None else self._query_rows.less(self._offset)
        # Moving the origin changes no ranking, and where all embeddings are nearly the same it keeps float32 sharp.
        self._centre = self._gallery.mean(dim=0)  # (D,)
        self._longest = _longest(self._gallery, self._centre)
        self._longest_image = _longest(self._gallery, torch.zeros_like(self._centre))
        if self._longest < self._longest_image / 2:
            self._centred = self._gallery - self._centre  # (G, D)
        else:  # less than a bit is gained: not worth a second copy
            self._centred, self._longest = self._gallery, self._longest_image
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

    def _shared_offset(self) -> Tensor | None:
        """What to take (D',), in float64, from all rows before they are rounded to float32, or None for nothing.

        Float32 keeps the digits of rows that are nearly the same only then. Nothing is gained where float32 rounds
        nothing, and nothing may be moved where products of rows of other lengths than 1 rank.
        """
        if not self._is_rounded or not (self._search == "l2" or (self._is_normalised and not self._has_zeros)):
            return None
        offset = self._gallery.mean(dim=0, dtype=torch.float64)  # (D',)
        apart = length = 0.0
        for block in self._gallery.split(ROWS_AT_ONCE):  # type: ignore[no-untyped-call]
            length += float(block.norm(dim=1).sum())
            apart += float((block - offset.float()).norm(dim=1).sum())
        return offset if apart < SMALL * length else None

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
        rows = self._query_rows[queries]  # (b, D)
        rows = rows - self._double_centre if self._search == "l2" else rows
        scores = rows.new_empty(len(rows), len(self._gallery))
        step = max(1, GALLERY_NUMBERS_AT_ONCE // self._gallery.shape[1])
        for start in range(0, len(self._gallery), step):
            images = self._small_double_gallery  # (g, D)
            if images is None:
                images = self._gallery_rows[start : start + step] - self._double_centre
            part = products(rows, images)
            scores[:, start : start + step] = part - _half_squares(images) if self._search == "l2" else part
        size = (rows.norm(dim=1) + self._longest + self._centre.double().norm()) ** 2  # (b,)
        return scores, 4 * (rows.shape[1] + 8) * DOUBLE_ROUNDOFF * size

    def exact(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Scores (P,) in float64 of the pairs (``queries[p]``, ``candidates[p]``), larger = nearer.

        Unit vectors are compared by their squared distances, which keep the digits that their products round away.
        """
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
            distinct, nth = torch.unique_consecutive(block // len(self._gallery), return_inverse=True)
            query = self._query_rows[distinct][nth]  # (p, D)
            image = self._gallery_rows[block % len(self._gallery)]  # (p, D)
            scores[start : start + step] = self._exact_scores(query, image)
        return scores[of_pair]

    def _exact_scores(self, query: Tensor, image: Tensor) -> Tensor:
        if self._search == "ip" and not self._is_normalised:
            return (query * image).sum(dim=1)
        scores = (query - image).square().sum(dim=1).neg()  # (p,): 2 q.g - 2 of unit vectors
        if self._search == "ip" and self._has_zeros:
            is_zero = ~query.any(dim=1) | ~image.any(dim=1)
            scores.masked_fill_(is_zero, -2)
        return scores

    @cached_property
    def first_duplicate(self) -> Tensor:
        """The first gallery image (G,) with the same embedding, for each; its own index where there is no other."""
        return self._gallery_rows.first_duplicates()

    @cached_property
    def _double_centre(self) -> Tensor:
        """What ``_centred`` is less than the rows (D,), in float64."""
        return self._centre.double() if self._offset is None else self._centre.double() + self._offset

    @cached_property
    def _small_double_gallery(self) -> Tensor | None:
        """The centred gallery (G, D) in float64 where one step holds all of it."""
        if self._gallery.numel() > GALLERY_NUMBERS_AT_ONCE:
            return None
        return self._gallery_rows[:] - self._double_centre

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
        return error + rows.shape[1] * TINY + self._error_of_rounding(rows)

    def _error_of_rounding(self, rows: Tensor) -> Tensor | float:
        """What scores of centred queries ``rows`` (b, D) lose (b,) as float32 holds neither these nor the gallery."""
        if not self._is_rounded:
            return 0.0
        lengths, image_off = rows.norm(dim=1).double(), UNIT_ROUNDOFF * self._longest_image + TINY  # (b,)
        reach = lengths + self._longest if self._search == "l2" else lengths  # (b,): of what moves an image's score
        return 1.1 * (self._query_off(lengths) * (self._longest + image_off) + image_off * (reach + image_off))

    def _query_off(self, lengths: Tensor) -> Tensor:
        """How far rounding may have moved queries of these ``lengths`` (b,), centred, in float64."""
        from_origin = lengths + self._centre.double().norm() if self._search == "l2" else lengths
        return UNIT_ROUNDOFF * from_origin + TINY

    def _error_of_pairs(self, rows: Tensor) -> Tensor:
        error = self._error_of_single(rows)
        if self._half_squares is None:
            return error
        lengths = rows.norm(dim=1).double()  # (b,)
        # another square, summed and subtracted
        error = error + 1.1 * (rows.shape[1] + 16) * UNIT_ROUNDOFF * lengths**2 / 2
        return error + 1.1 * self._query_off(lengths) * lengths if self._is_rounded else error

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
