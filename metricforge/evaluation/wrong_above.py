"""How many wrong images are nearer to a query than each of its right ones: all that ranks of right images take."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metricforge.evaluation.candidates import Candidates
from metricforge.evaluation.product_scores import ProductScores
from metricforge.evaluation.ranking_tables import HammingTable, PairwiseTable
from metricforge.evaluation.row_counts import (
    columns_in_some_band,
    comparable,
    count_larger,
    larger_in_rows,
    limits,
    places_of,
    places_within,
)

if TYPE_CHECKING:
    from metricforge.evaluation.context import EvaluationContext

BEYOND = 2**62  # wrong images before a right one that is further away than anybody asked
CHUNK = 64  # columns of which the largest score is looked at first
SHALLOW = 8  # ranks are shallow up to this part of the gallery
HALF_PAYS = 2**12  # images in a gallery from which on bfloat16 is worth its second step
ELEMENTS_AT_ONCE = 2**22
CROWDED = 8  # a row of which more than this part of the chunks count is looked at as a whole


class RightImages(NamedTuple):
    """Right images of some queries: whose (P,), rows of the block, ascending; and which gallery image (P,)."""

    row: Tensor
    image: Tensor


class _Rough(NamedTuple):
    """Rough scores ``table`` (b, W) and the better known ``score`` (P,) of the right images, ``error`` (b,) apart.

    All scores of a row differ by less than ``span`` places of their sorted order.
    Columns of the table beyond the gallery's are filled up.
    """

    table: Tensor
    score: Tensor
    error: Tensor
    span: int

    @property
    def halved(self) -> bool:
        """Whether the table is of bfloat16."""
        return self.table.dtype == torch.bfloat16


class WrongAbove:
    """Counts, for the right images of a block of queries, the wrong images that are ranked before each.

    Ties are by place in the gallery, a query never counts itself, and what rounding leaves undecided is compared by
    ``ProductScores.exact``, so the counts depend on neither the block nor the processor. Where only the first ranks
    matter, a bfloat16 or a float32 product finds the images that may be among them, by the largest score of each chunk
    of the gallery; otherwise whole rows of float64 products are compared with the right images' scores.

    ``device`` is where places of queries are expected and counts are given.

    Args:
        half: whether to begin with bfloat16; None: where the processor is fast at it and the gallery is large.
    """

    def __init__(self, context: EvaluationContext, half: bool | None = None) -> None:
        gallery, queries = context.gallery, context.queries
        similarity, device = context.similarity, context.device
        own_set = None if context.searches_itself else queries.embeddings
        self.device = device if similarity.search != "hamming" else torch.device("cpu")
        self._source: ProductScores | HammingTable | PairwiseTable
        if similarity.search == "hamming":
            self._source = HammingTable(own_set, gallery.embeddings, similarity, device)
        elif similarity.search is None:
            self._source = PairwiseTable(own_set, gallery.embeddings, similarity, device)
        else:
            self._source = ProductScores(own_set, gallery.embeddings, similarity, device)
        self._size = len(gallery)
        self._width = -(-self._size // CHUNK) * CHUNK  # of tables, whose last chunk is filled up
        self._labels = torch.from_numpy(gallery.labels).to(self.device)  # (G,)
        self._query_labels = torch.from_numpy(queries.labels).to(self.device)  # (Q,)
        self._own = torch.from_numpy(context.own_place).to(self.device)  # (Q,)
        self._by_class = torch.from_numpy(np.argsort(gallery.labels, kind="stable")).to(self.device)  # (G,)
        labels = self._labels[self._by_class]
        self._first = torch.searchsorted(labels, self._query_labels)  # (Q,)
        self._end = torch.searchsorted(labels, self._query_labels, right=True)
        strange = (self._own >= 0) & (self._labels[self._own] != self._query_labels)  # another class in the gallery
        self._own_is_right = ~strange  # (Q,)
        self._matches = torch.from_numpy(context.matches).to(self.device)  # (Q,)
        if isinstance(self._source, ProductScores):
            self._twins, self._twins_before = _wrong_duplicates(self._source.first_duplicate, self._labels)
            fast = device.type == "cpu" and has_fast_bfloat16() and self._size >= HALF_PAYS
            self._half = self._source.is_moderate and (fast if half is None else half)
        else:
            self._twins = self._twins_before = torch.zeros_like(self._labels)
            self._half = False
        self._rooms = threading.local()

    @property
    def is_shared_by_threads(self) -> bool:
        """Whether blocks may be counted by several threads at a time, and that pays."""
        return self.device.type == "cpu" and not isinstance(self._source, PairwiseTable)

    def count(self, queries: Tensor, first: int, every: Tensor) -> tuple[RightImages, Tensor]:
        """The right images of consecutive ``queries`` (b,), and how many wrong ones are before each (P,).

        Args:
            queries: places in the query set, on the device.
            first: the nearest right image is of interest up to this rank.
            every: right images are of interest up to this rank of each query (b,).

        Returns:
            Counts of those further away than that are exact or ``BEYOND``.
        """
        right = self._right_images(queries)
        above = torch.full_like(right.row, BEYOND)
        if not len(right.row):
            return right, above
        deepest = int(every.max())
        if SHALLOW * max(first, deepest) > self._size or isinstance(self._source, PairwiseTable):
            deep = torch.ones(len(queries), dtype=torch.bool, device=self.device)
        else:
            deep = self._count_among_nearest(queries, right, above, first, every)
        rest = deep.nonzero()[:, 0]
        step = max(1, ELEMENTS_AT_ONCE // self._size)
        if isinstance(self._source, PairwiseTable):
            step = max(1, len(rest))
        for some in rest.split(step):  # type: ignore[no-untyped-call]
            place = torch.full((len(queries),), -1, device=self.device)
            place[some] = torch.arange(len(some), device=self.device)
            theirs = (place[right.row] >= 0).nonzero()[:, 0]  # (p,)
            if not len(theirs):
                continue
            part = RightImages(place[right.row[theirs]], right.image[theirs])
            above[theirs] = self._count_in_whole_rows(queries[some], part, every[some])
        return right, above

    def _right_images(self, queries: Tensor) -> RightImages:
        counts = (self._end - self._first)[queries]  # (b,)
        row = torch.arange(len(queries), device=self.device).repeat_interleave(counts)  # (P,)
        nth = torch.arange(len(row), device=self.device) - (counts.cumsum(dim=0) - counts)[row]
        image = self._by_class[self._first[queries][row] + nth]
        others = image != self._own[queries][row]
        return RightImages(row[others], image[others])

    def _table(self, rows: int, dtype: torch.dtype) -> Tensor:
        """Room for the scores of ``rows`` queries (rows, W): beyond G columns it holds what is below all scores."""
        table = self._room("table", rows, self._width, dtype)
        table[:, self._size :] = limits(dtype)[0]
        return table

    def _room(self, name: str, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
        """Memory (rows, columns) that the thread uses again and again."""
        room: Tensor | None = getattr(self._rooms, name, None)
        if room is None or room.dtype != dtype or room.numel() < rows * columns:
            room = torch.empty(rows * columns, dtype=dtype, device=self.device)
            setattr(self._rooms, name, room)
        return room[: rows * columns].view(rows, columns)

    def _count_among_nearest(
        self, queries: Tensor, right: RightImages, above: Tensor, first: int, every: Tensor
    ) -> Tensor:
        """Fills in ``above`` (P,), and says for which queries (b,) it would take too many candidates."""
        rows = len(queries)
        row, image = right
        table, score, error, span = rough = self._rough_scores(queries, right)
        lowest, highest = limits(score.dtype)

        deepest = int(every.max())
        chunk = CHUNK
        while chunk > 1 and self._size < 4 * chunk * deepest:
            chunk //= 2
        maxima = _chunk_maxima(table, chunk)  # (b, chunks)
        low, high = score - error[row], score + error[row]  # (P,)
        if rough.halved:
            low, high = low.bfloat16().float(), high.bfloat16().float()
        lowest_each = torch.full((rows,), lowest, dtype=score.dtype, device=self.device)  # (b,)
        best_low = lowest_each.scatter_reduce(0, row, low, reduce="amax")  # (b,): of the nearest right image
        best_high = lowest_each.scatter_reduce(0, row, high, reduce="amax")
        surely = (maxima > best_high[:, None]).sum(dim=1) - self._matches[queries]  # (b,): wrong images before all
        # Chunks say little where many of them count: what is left open, the whole row decides.
        many = maxima.shape[1] // CROWDED
        open_rows = ((surely < first) & (surely + self._matches[queries] > many)).nonzero()[:, 0]
        larger = larger_in_rows(table, open_rows, best_high[open_rows], strictly=True)
        surely[open_rows] = larger - self._matches[queries][open_rows]
        wanted = (high >= best_low[row]) & (surely < first)[row]  # (P,)
        if deepest:
            # As many images as `every` score at least so much, so whoever is surely below is beyond that rank.
            floor = maxima.topk(deepest, dim=1).values.gather(1, every.clamp(min=1)[:, None] - 1)[:, 0]  # (b,)
            floor = floor - 2 * error
            if rough.halved:
                floor = floor - floor.abs() / 2**6 - 2 * error / 2**6
            floor = torch.where(every > 0, floor, highest)
            wanted |= high >= floor[row]
        threshold = torch.full((rows,), highest, dtype=score.dtype, device=self.device)
        threshold.scatter_reduce_(0, row[wanted], low[wanted], reduce="amin")  # (b,)

        hits = maxima >= threshold[:, None]  # (b, chunks)
        limit = max(1024, 8 * max(first, deepest))
        deep = hits.sum(dim=1) > limit
        hits[deep] = False
        (of_row, column, value), beyond = self._between(table, threshold, best_high, hits, chunk)  # (N,), (b,)
        deep |= torch.bincount(of_row, minlength=rows) > 2 * limit
        keep = ~deep[of_row] & (self._labels[column] != self._query_labels[queries][of_row])
        candidates = Candidates(of_row[keep], column[keep], value[keep], rows, span)
        wanted = (wanted & ~deep[row]).nonzero()[:, 0]  # (p,): places among the right images
        row, image, score, low, high = row[wanted], image[wanted], score[wanted], low[wanted], high[wanted]
        counts = self._count_candidates(queries, RightImages(row, image), score, (low, high), candidates, rough)
        above[wanted] = beyond[row] + counts
        return deep

    def _rough_scores(self, queries: Tensor, right: RightImages) -> _Rough:
        """One product of all ``queries`` (b,), in bfloat16 where that pays and does what it should."""
        source, (row, image) = self._source, right
        rough = self._half_scores(queries, right) if self._half else None
        if isinstance(source, HammingTable):
            room = self._room("distances", len(queries), self._size, torch.int32)
            rows = source.rows(queries, out=room)  # (b, G)
            table = self._table(len(queries), rows.dtype)
            table[:, : self._size] = rows
            error = torch.zeros(len(queries), dtype=table.dtype)
            rough = _Rough(table, table[row, image], error, int(-rows.min()) + 1)
        elif rough is None:
            assert isinstance(source, ProductScores)
            table = self._table(len(queries), torch.float32)
            _, error = source.single(queries, out=table[:, : self._size])
            # twice: the right image's error and the wrong one's
            rough = _Rough(table, table[row, image], (2 * error).float(), 2**32)
        own = self._own[queries]
        itself = (own >= 0).nonzero()[:, 0]
        rough.table[itself, own[itself]] = limits(rough.table.dtype)[0]
        return rough

    def _half_scores(self, queries: Tensor, right: RightImages) -> _Rough | None:
        """Those of a bfloat16 product; None, from now on, where such products are not what we take them for."""
        source, (row, image) = self._source, right
        assert isinstance(source, ProductScores)
        table = self._table(len(queries), torch.bfloat16)
        _, error = source.half(queries, out=table[:, : self._size])
        score = source.single_pairs(queries[row], image)
        # No bound would hold then: look at those scores that we know.
        wrong_by = (table[row, image].double() - score).abs() - score.abs().double() / 2**7
        if (wrong_by > error[row]).any():
            self._half = False
            return None
        return _Rough(table, score, error.float(), 2**32)

    def _count_candidates(
        self,
        queries: Tensor,
        right: RightImages,
        score: Tensor,
        within: tuple[Tensor, Tensor],
        candidates: Candidates,
        rough: _Rough,
    ) -> Tensor:
        """How many of the wrong ``candidates`` are before each right image (p,), whose ``score`` (p,) is ``within``."""
        source, (row, image) = self._source, right
        start, end, row_end = candidates.between(row, *within)
        if rough.halved:
            assert isinstance(source, ProductScores)
            close = candidates.union(start, end).nonzero()[:, 0]
            refined = candidates.score
            refined[close] = source.single_pairs(queries[candidates.row[close]], candidates.column[close])
            candidates = Candidates(candidates.row, candidates.column, refined, len(queries), rough.span)
            error = (2 * source.single_error(queries)).float()
            start, end, row_end = candidates.between(row, score - error[row], score + error[row])
        counts = row_end - end  # (p,)
        all_twins = (end - start == self._twins[image]) & self._own_is_right[queries][row]
        undecided = (end > start) & ~all_twins
        counts = torch.where(undecided, counts, counts + torch.where(end > start, self._twins_before[image], 0))
        if undecided.any():
            assert isinstance(source, ProductScores)
            who = undecided.nonzero()[:, 0]
            involved = candidates.union(start[who], end[who])  # (N,)
            before = torch.nn.functional.pad(involved.long().cumsum(dim=0), (1, 0))  # (N + 1,)
            counts[who] -= before[row_end[who]] - before[end[who]]
            counts[who] += self._exactly_above(
                queries, row[who], image[who], candidates.row[involved], candidates.column[involved]
            )
        return counts

    def _between(
        self, table: Tensor, threshold: Tensor, ceiling: Tensor, hits: Tensor, chunk: int
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """What is in the chunks that are ``hits`` (b, chunks), from the row's ``threshold`` (b,) on.

        Returns row, column and value (N,) of what is not above the row's ``ceiling`` (b,), and how many are above (b,).
        """
        beyond = torch.zeros(len(table), dtype=torch.int64, device=self.device)
        # where looking at the whole row is quicker than picking
        crowded = (hits.sum(dim=1) > hits.shape[1] // CROWDED).nonzero()[:, 0]  # (r,)
        row, column, beyond[crowded] = places_within(table, crowded, threshold[crowded], ceiling[crowded])
        found = [(row, column, comparable(table[row, column]))]
        hits[crowded] = False
        chunks = table.unflatten(1, (-1, chunk))  # type: ignore[no-untyped-call]  # (b, chunks, chunk)
        for some in hits.nonzero().split(max(1, ELEMENTS_AT_ONCE // chunk)):  # type: ignore[no-untyped-call]
            hit_row, hit_chunk = some.T  # (h,) each
            inside = comparable(chunks[hit_row, hit_chunk])  # (h, chunk)
            place = places_of(inside >= threshold[hit_row, None])
            row, value = hit_row[place // chunk], inside.view(-1)[place]
            column = hit_chunk[place // chunk] * chunk + place % chunk
            larger = value > ceiling[row]
            beyond += torch.bincount(row[larger], minlength=len(table))
            found.append((row[~larger], column[~larger], value[~larger]))
        row, column, value = (torch.cat(part) for part in zip(*found, strict=True))
        return (row, column, value), beyond

    def _count_in_whole_rows(self, queries: Tensor, right: RightImages, every: Tensor) -> Tensor:
        """Of ``count``, for queries of which all images are looked at: exact for all, or only for the nearest right."""
        row, image = right
        source = self._source
        if isinstance(source, ProductScores):
            table, error = source.double(queries)
            score = table[row, image]
            # Rounding keeps the order, and float32 is compared and sorted in half the time.
            low, high = (score - 2 * error[row]).float(), (score + 2 * error[row]).float()
            table, score = table.float(), score.float()
        else:
            table = source.rows(queries)
            low = high = score = table[row, image]
        lowest, _ = limits(table.dtype)
        own = self._own[queries]
        itself = (own >= 0).nonzero()[:, 0]
        table[itself, own[itself]] = lowest
        table[row, image] = lowest
        # Where ranks beyond the first do not matter, only the nearest right image does, or those it may tie with.
        best = torch.full((len(queries),), lowest, dtype=score.dtype, device=self.device)
        best.scatter_reduce_(0, row, low, reduce="amax")
        wanted = ((every > 0)[row] | (high >= best[row])).nonzero()[:, 0]  # (p,)
        counts = torch.full_like(row, BEYOND)
        row, image, low, high = row[wanted], image[wanted], low[wanted], high[wanted]
        above, reached = count_larger(table, row, low, high)  # (p,)
        if isinstance(source, ProductScores):
            band = reached - above
            all_twins = (band == self._twins[image]) & self._own_is_right[queries][row]
            undecided = (band > 0) & ~all_twins
            above = torch.where(undecided, above, above + torch.where(band > 0, self._twins_before[image], 0))
            for one in row[undecided].unique():  # type: ignore[no-untyped-call]
                who = (undecided & (row == one)).nonzero()[:, 0]
                involved = columns_in_some_band(table[one], low[who], high[who])  # (n,) columns
                larger = table[one, involved].sort().values
                above[who] -= len(involved) - torch.searchsorted(larger, high[who], right=True)
                above[who] += self._exactly_above(
                    queries, row[who], image[who], torch.full_like(involved, int(one)), involved
                )
        counts[wanted] = above
        return counts

    def _exactly_above(
        self, queries: Tensor, row: Tensor, image: Tensor, wrong_row: Tensor, wrong_image: Tensor
    ) -> Tensor:
        """How many of the wrong images are before each right one (p,) of the same row, in float64, ties by place."""
        assert isinstance(self._source, ProductScores)
        rows, images = torch.cat([row, wrong_row]), torch.cat([image, wrong_image])
        scores = self._source.exact(queries[rows], images)
        order = images.argsort()
        order = order[scores[order].argsort(descending=True, stable=True)]
        order = order[rows[order].argsort(stable=True)]
        is_wrong = order >= len(row)
        before = is_wrong.long().cumsum(dim=0)  # (n,): of all rows so far
        row_starts = torch.searchsorted(rows[order], torch.arange(len(queries), device=rows.device))
        earlier_rows = torch.nn.functional.pad(before, (1, 0))[row_starts]  # (b,)
        counts = torch.empty_like(before)
        counts[order] = before - earlier_rows[rows[order]]
        return counts[: len(row)]


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 by instructions of its own."""
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(torch.backends.mkldnn.is_available() and (able.get("avx512_bf16") or able.get("amx_bf16")))  # type: ignore[no-untyped-call]


def _chunk_maxima(table: Tensor, chunk: int) -> Tensor:
    """The largest of each ``chunk`` columns (b, W / chunk) of ``table`` (b, W)."""
    if table.dtype != torch.bfloat16:
        return table.unflatten(1, (-1, chunk)).amax(dim=2)  # type: ignore[no-untyped-call, no-any-return]
    # The bits of bfloat16, read as whole numbers, are in order among those not below zero, which all others are below:
    # a fifth of the time. Below zero the order is the reverse.
    bits = table.view(torch.int16).unflatten(1, (-1, chunk))  # type: ignore[no-untyped-call]
    largest = bits.amax(dim=2)
    below_zero = largest < 0
    if below_zero.any():
        largest[below_zero] = bits[below_zero].amin(dim=1)
    return largest.view(torch.bfloat16).float()


def _wrong_duplicates(first: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """For each image (G,) how many of other classes have the very same embedding, and how many of these are before it.

    ``first`` (G,) is the first image with its embedding.
    """
    places = torch.arange(len(first), device=first.device)
    if torch.equal(first, places):
        return torch.zeros_like(first), torch.zeros_like(first)
    classes = torch.unique(labels, return_inverse=True)[1]  # (G,)
    pair = first * (int(classes.max()) + 1) + classes  # same embedding and same class
    (all_of_it, all_before), (of_class, class_before) = (_size_and_place(group) for group in (first, pair))
    return all_of_it - of_class, all_before - class_before


def _size_and_place(group: Tensor) -> tuple[Tensor, Tensor]:
    """How many are in the group of each (N,), and how many of these stand before it (N,)."""
    _, number, sizes = torch.unique(group, return_inverse=True, return_counts=True)
    order = number.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device) - (sizes.cumsum(dim=0) - sizes)[number[order]]
    return sizes[number], place
