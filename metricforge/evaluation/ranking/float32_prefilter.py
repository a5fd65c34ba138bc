"""Which images are nearest to queries, from a table of their scores of the whole gallery."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.evaluation.ranking.candidates import ANY_FLOAT
from metricforge.evaluation.ranking.prefilter_result import MatchList, NearestCandidates, PrefilterResult
from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.evaluation.search.integer_scores import HammingScores
from metricforge.evaluation.search.row_counts import indices_of, indices_within, larger_in_rows, limits
from metricforge.evaluation.search.thread_local_buffers import ThreadLocalBuffers

CHUNK = 64  # columns of which the largest score is looked at first
CROWDED = 8  # a row of which more than this part of the chunks count is looked at as a whole
ELEMENTS_AT_ONCE = 2**22
MOST_CANDIDATES = 2**12  # images of a query that may be its nearest; where there are more, whole rows are compared


class Float32Prefilter:
    """Finds the images that may be before the right ones in a float32 product or in Hamming distances of a block.

    The largest score of each chunk of the gallery says which chunks have to be looked at.

    Args:
        own: each query's place in the gallery (Q,), -1: none.
        size: G, images in the gallery.
        first: the nearest right image is of interest up to this rank.
        every: right images are of interest up to this rank of each query (Q,).
    """

    def __init__(
        self, source: InnerProductScores | HammingScores, own: Tensor, size: int, first: int, every: Tensor
    ) -> None:
        self._source, self._own, self._size, self._first, self._every = source, own, size, first, every
        self._width = -(-size // CHUNK) * CHUNK  # of tables, whose last chunk is filled up
        self._buffers = ThreadLocalBuffers()

    def nearest(self, queries: Tensor, right: MatchList) -> PrefilterResult:
        """What concerns ``queries`` (b,)."""
        table, error, span = self._scores(queries)  # (b, W), (b,)
        rows, (row, image), every = len(queries), right, self._every[queries]
        matches = torch.bincount(row, minlength=rows)  # (b,)
        score = table[row, image]  # (P,)
        lowest, highest = limits(table.dtype)

        deepest = int(every.max())
        chunk = CHUNK
        while chunk > 1 and self._size < 4 * chunk * deepest:
            chunk //= 2
        maxima = table.unflatten(1, (-1, chunk)).amax(dim=2)  # type: ignore[no-untyped-call]  # (b, chunks)
        low, high = score - error[row], score + error[row]  # (P,)
        lowest_each = torch.full((rows,), lowest, dtype=score.dtype, device=score.device)  # (b,)
        best_low = lowest_each.scatter_reduce(0, row, low, reduce="amax")  # (b,): of the nearest right image
        best_high = lowest_each.scatter_reduce(0, row, high, reduce="amax")
        surely = (maxima > best_high[:, None]).sum(dim=1) - matches  # (b,): wrong images before all
        # Chunks say little where many of them count: what is left open, the whole row decides.
        many = maxima.shape[1] // CROWDED
        open_rows = ((surely < self._first) & (surely + matches > many)).nonzero()[:, 0]
        larger = larger_in_rows(table, open_rows, best_high[open_rows], strictly=True)
        surely[open_rows] = larger - matches[open_rows]
        wanted = (high >= best_low[row]) & (surely < self._first)[row]  # (P,)
        if deepest:
            # As many images as `every` score at least so much, so whoever is surely below is beyond that rank.
            floor = maxima.topk(deepest, dim=1).values.gather(1, every.clamp(min=1)[:, None] - 1)[:, 0]  # (b,)
            wanted |= high >= torch.where(every > 0, floor - 2 * error, highest)[row]
        threshold = torch.full((rows,), highest, dtype=score.dtype, device=score.device)
        threshold.scatter_reduce_(0, row[wanted], low[wanted], reduce="amin")  # (b,)

        hits = maxima >= threshold[:, None]  # (b, chunks)
        limit = max(1024, 8 * max(self._first, deepest))
        deep = hits.sum(dim=1) > limit
        hits[deep] = False
        (of_row, column, value), beyond = self._between(table, threshold, best_high, hits, chunk)  # (N,), (b,)
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
            lambda asked: _nearest_candidates(table, maxima, error, chunk, asked),
        )

    def _scores(self, queries: Tensor) -> tuple[Tensor, Tensor, int]:
        """A table (b, W) without the queries' own scores, what a comparison may be wrong by (b,), and its span."""
        if isinstance(self._source, HammingScores):
            room = self._buffers.buffer("distances", len(queries), self._size, torch.int32, self._own.device)
            numbers = self._source.rows(queries, out=room)  # (b, G)
            table = self._table(len(queries), numbers.dtype)
            table[:, : self._size] = numbers
            error, span = torch.zeros(len(queries), dtype=table.dtype), int(-numbers.min()) + 1
        else:
            table = self._table(len(queries), torch.float32)
            _, error = self._source.single(queries, out=table[:, : self._size])
            error, span = (2 * error).float(), ANY_FLOAT  # twice: the right one's and the other's
        own = self._own[queries]
        itself = (own >= 0).nonzero()[:, 0]
        table[itself, own[itself]] = limits(table.dtype)[0]
        return table, error, span

    def _table(self, rows: int, dtype: torch.dtype) -> Tensor:
        """Room for the scores of ``rows`` queries (rows, W): beyond G columns it holds what is below all scores."""
        table = self._buffers.buffer("scores", rows, self._width, dtype, self._own.device)
        table[:, self._size :] = limits(dtype)[0]
        return table

    def _between(
        self, table: Tensor, threshold: Tensor, ceiling: Tensor, hits: Tensor, chunk: int
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """What is in the chunks that are ``hits`` (b, chunks), from the row's ``threshold`` (b,) on.

        Returns row, column and value (N,) of what is not above the row's ``ceiling`` (b,), and how many are above (b,).
        """
        beyond = torch.zeros(len(table), dtype=torch.int64, device=table.device)
        # where looking at the whole row is quicker than picking
        crowded = (hits.sum(dim=1) > hits.shape[1] // CROWDED).nonzero()[:, 0]  # (r,)
        row, column, beyond[crowded] = indices_within(table, crowded, threshold[crowded], ceiling[crowded])
        found = [(row, column, table[row, column])]
        hits[crowded] = False
        chunks = table.unflatten(1, (-1, chunk))  # type: ignore[no-untyped-call]  # (b, chunks, chunk)
        for some in hits.nonzero().split(max(1, ELEMENTS_AT_ONCE // chunk)):  # type: ignore[no-untyped-call]
            hit_row, hit_chunk = some.T  # (h,) each
            inside = chunks[hit_row, hit_chunk]  # (h, chunk)
            place = indices_of(inside >= threshold[hit_row, None])
            row, value = hit_row[place // chunk], inside.view(-1)[place]
            column = hit_chunk[place // chunk] * chunk + place % chunk
            larger = value > ceiling[row]
            beyond += torch.bincount(row[larger], minlength=len(table))
            found.append((row[~larger], column[~larger], value[~larger]))
        row, column, value = (torch.cat(part) for part in zip(*found, strict=True))
        return (row, column, value), beyond


def _nearest_candidates(table: Tensor, maxima: Tensor, error: Tensor, chunk: int, asked: Tensor) -> NearestCandidates:
    """Which columns of ``table`` (b, W) may be the nearest of its rows ``asked`` (r,), by chunks' ``maxima``."""
    least = maxima[asked].amax(dim=1) - error[asked]  # (r,)
    hits = maxima[asked] >= least[:, None]  # (r, chunks)
    unclear = hits.sum(dim=1) * chunk > max(MOST_CANDIDATES, chunk)
    hits[unclear] = False
    hit_row, hit_chunk = hits.nonzero(as_tuple=True)  # (h,) each
    inside = table.unflatten(1, (-1, chunk))[asked[hit_row], hit_chunk]  # type: ignore[no-untyped-call]  # (h, chunk)
    nth, offset = (inside >= least[hit_row, None]).nonzero(as_tuple=True)
    return NearestCandidates(hit_row[nth], hit_chunk[nth] * chunk + offset, unclear)
