"""Finds what may be ranked above matches by float32 products or Hamming distances of whole blocks of queries."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.evaluation.ranking.candidates import ANY_FLOAT, MatchList, NearestCandidates, PrefilterResult
from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.evaluation.search.integer_scores import HammingScores
from metricforge.evaluation.search.row_counts import indices_of, indices_within, larger_in_rows, limits
from metricforge.evaluation.search.thread_local_buffers import ThreadLocalBuffers

CHUNK = 64  # columns whose largest score is compared first
CROWDED = 8  # where more than one chunk in so many counts, the whole row is compared
ELEMENTS_AT_ONCE = 2**22
MOST_CANDIDATES = 2**12  # images that may be a query's nearest; beyond it, whole rows are compared


class Float32Prefilter:
    """Find the images that may be ranked above matches, from float32 products or Hamming distances of a block.

    The largest score of each chunk of the gallery tells which chunks have to be searched.

    Args:
        self_index: the gallery index of each query itself (Q,), -1 for queries that are not in the gallery.
        size: G, images in the gallery.
        first: the nearest match is of interest up to this rank.
        every: matches are of interest up to this rank of each query (Q,).
    """

    def __init__(
        self, source: InnerProductScores | HammingScores, self_index: Tensor, size: int, first: int, every: Tensor
    ) -> None:
        self._source, self._self_index, self._size = source, self_index, size
        self._first, self._every = first, every
        self._width = -(-size // CHUNK) * CHUNK  # of buffers, whose last chunk is padded
        self._buffers = ThreadLocalBuffers()

    def nearest(self, queries: Tensor, matches: MatchList) -> PrefilterResult:
        """What may be ranked above the ``matches`` of ``queries`` (b,)."""
        scores, error, span = self._scores(queries)  # (b, W), (b,)
        rows, (row, image), every = len(queries), matches, self._every[queries]
        match_counts = torch.bincount(row, minlength=rows)  # (b,)
        score = scores[row, image]  # (P,)
        lowest, highest = limits(scores.dtype)

        deepest = int(every.max())
        chunk = CHUNK
        while chunk > 1 and self._size < 4 * chunk * deepest:
            chunk //= 2
        maxima = scores.unflatten(1, (-1, chunk)).amax(dim=2)  # type: ignore[no-untyped-call]  # (b, chunks)
        low, high = score - error[row], score + error[row]  # (P,)
        lowest_each = torch.full((rows,), lowest, dtype=score.dtype, device=score.device)  # (b,)
        best_low = lowest_each.scatter_reduce(0, row, low, reduce="amax")  # (b,): of the nearest match
        best_high = lowest_each.scatter_reduce(0, row, high, reduce="amax")
        surely = (maxima > best_high[:, None]).sum(dim=1) - match_counts  # (b,): non-matches above all matches
        # Where many chunks count they tell little: whole rows decide what is left open.
        many = maxima.shape[1] // CROWDED
        open_rows = ((surely < self._first) & (surely + match_counts > many)).nonzero()[:, 0]
        larger = larger_in_rows(scores, open_rows, best_high[open_rows], strictly=True)
        surely[open_rows] = larger - match_counts[open_rows]
        wanted = (high >= best_low[row]) & (surely < self._first)[row]  # (P,)
        if deepest:
            # `every` images reach this score, so whatever is surely below it is beyond that rank.
            floor = maxima.topk(deepest, dim=1).values.gather(1, every.clamp(min=1)[:, None] - 1)[:, 0]  # (b,)
            wanted |= high >= torch.where(every > 0, floor - 2 * error, highest)[row]
        threshold = torch.full((rows,), highest, dtype=score.dtype, device=score.device)
        threshold.scatter_reduce_(0, row[wanted], low[wanted], reduce="amin")  # (b,)

        hits = maxima >= threshold[:, None]  # (b, chunks)
        limit = max(1024, 8 * max(self._first, deepest))
        deep = hits.sum(dim=1) > limit
        hits[deep] = False
        (of_row, column, value), beyond = self._between(scores, threshold, best_high, hits, chunk)  # (N,), (b,)
        deep |= torch.bincount(of_row, minlength=rows) > 2 * limit
        keep = ~deep[of_row]
        chosen = (wanted & ~deep[row]).nonzero()[:, 0]  # (p,)
        return PrefilterResult(
            chosen,
            low[chosen],
            high[chosen],
            beyond,
            of_row[keep],
            column[keep],
            value[keep],
            span,
            deep,
            lambda asked: _nearest_candidates(scores, maxima, error, chunk, asked),
        )

    def _scores(self, queries: Tensor) -> tuple[Tensor, Tensor, int]:
        """Scores (b, W), lowest for the query itself, what a comparison may be wrong by (b,), and their span."""
        if isinstance(self._source, HammingScores):
            distances = self._buffers.buffer(
                "distances", len(queries), self._size, torch.int32, self._self_index.device
            )
            integers = self._source.rows(queries, out=distances)  # (b, G)
            scores = self._padded_buffer(len(queries), integers.dtype)
            scores[:, : self._size] = integers
            error, span = torch.zeros(len(queries), dtype=scores.dtype), int(-integers.min()) + 1
        else:
            scores = self._padded_buffer(len(queries), torch.float32)
            _, error = self._source.single(queries, out=scores[:, : self._size])
            error, span = (2 * error).float(), ANY_FLOAT  # twice: the match's and the other's
        self_index = self._self_index[queries]
        row = (self_index >= 0).nonzero()[:, 0]
        scores[row, self_index[row]] = limits(scores.dtype)[0]
        return scores, error, span

    def _padded_buffer(self, rows: int, dtype: torch.dtype) -> Tensor:
        """A buffer for the scores of ``rows`` queries (rows, W), padded beyond G columns with less than any score."""
        buffer = self._buffers.buffer("scores", rows, self._width, dtype, self._self_index.device)
        buffer[:, self._size :] = limits(dtype)[0]
        return buffer

    def _between(
        self, scores: Tensor, threshold: Tensor, ceiling: Tensor, hits: Tensor, chunk: int
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """What reaches the row's ``threshold`` (b,) in the chunks that are ``hits`` (b, chunks).

        Returns row, column and value (N,) of what is not above the row's ``ceiling`` (b,), and how many are above (b,).
        """
        beyond = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
        # where comparing the whole row is quicker than picking chunks
        crowded = (hits.sum(dim=1) > hits.shape[1] // CROWDED).nonzero()[:, 0]  # (r,)
        row, column, beyond[crowded] = indices_within(scores, crowded, threshold[crowded], ceiling[crowded])
        found = [(row, column, scores[row, column])]
        hits[crowded] = False
        chunks = scores.unflatten(1, (-1, chunk))  # type: ignore[no-untyped-call]  # (b, chunks, chunk)
        for some in hits.nonzero().split(max(1, ELEMENTS_AT_ONCE // chunk)):  # type: ignore[no-untyped-call]
            hit_row, hit_chunk = some.T  # (h,) each
            inside = chunks[hit_row, hit_chunk]  # (h, chunk)
            index = indices_of(inside >= threshold[hit_row, None])
            row, value = hit_row[index // chunk], inside.view(-1)[index]
            column = hit_chunk[index // chunk] * chunk + index % chunk
            larger = value > ceiling[row]
            beyond += torch.bincount(row[larger], minlength=len(scores))
            found.append((row[~larger], column[~larger], value[~larger]))
        row, column, value = (torch.cat(part) for part in zip(*found, strict=True))
        return (row, column, value), beyond


def _nearest_candidates(scores: Tensor, maxima: Tensor, error: Tensor, chunk: int, asked: Tensor) -> NearestCandidates:
    """Which columns of ``scores`` (b, W) may be the nearest of its rows ``asked`` (r,), by chunks' ``maxima``."""
    least = maxima[asked].amax(dim=1) - error[asked]  # (r,)
    hits = maxima[asked] >= least[:, None]  # (r, chunks)
    unclear = hits.sum(dim=1) * chunk > max(MOST_CANDIDATES, chunk)
    hits[unclear] = False
    hit_row, hit_chunk = hits.nonzero(as_tuple=True)  # (h,) each
    inside = scores.unflatten(1, (-1, chunk))[asked[hit_row], hit_chunk]  # type: ignore[no-untyped-call]  # (h, chunk)
    nth, offset = (inside >= least[hit_row, None]).nonzero(as_tuple=True)
    return NearestCandidates(hit_row[nth], hit_chunk[nth] * chunk + offset, unclear)
