"""Counts non-matches ranked above each match: all that the ranks of matches take."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metricforge.arrays import Indices
from metricforge.evaluation.ranking.bfloat16_prefilter import Bfloat16Prefilter, bfloat16_pays
from metricforge.evaluation.ranking.candidates import Candidates, MatchList, NearestCandidates, PrefilterResult
from metricforge.evaluation.ranking.float32_prefilter import Float32Prefilter
from metricforge.evaluation.ranking.nearest_image import nearest_by_double, nearest_in_rows, nearest_of_candidates
from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.evaluation.search.integer_scores import HammingScores, PairwiseIntegerScores
from metricforge.evaluation.search.parallel_map import parallel_map
from metricforge.evaluation.search.retrieval_task import RetrievalTask
from metricforge.evaluation.search.row_counts import columns_in_some_band, count_larger, limits
from metricforge.functional.fast_bfloat16 import has_fast_bfloat16
from metricforge.interfaces import Similarity

BEYOND = 2**62  # non-matches above a match that is further away than anybody asked
SHALLOW = 8  # ranks are shallow up to this part of the gallery
KEPT_AT_ONCE = 2**24  # images that a sweep keeps, as far as its sample tells
ELEMENTS_AT_ONCE = 2**22

Block = tuple[int, int]  # where consecutive queries begin and end


class RankCounts(NamedTuple):
    """The matches (P,) of b queries, how many non-matches are ranked above each (P,), and who is nearest.

    ``nearest_label`` (b,) is the class of each query's nearest image, if that was asked.
    """

    matches: MatchList
    above: Tensor
    nearest_label: Tensor | None


class RankCounter:
    """Counts the non-matches ranked above each match, for a block of queries.

    Ties are ranked by gallery index, a query never counts itself, and what rounding leaves undecided is compared by
    ``InnerProductScores.exact``, so the counts depend on neither the block nor the processor. Where only the first
    ranks matter, bfloat16 or float32 products find the candidates; otherwise whole rows of float64 products are
    compared with the scores of the matches.

    ``device`` is where indices of queries are expected and counts are given.

    Args:
        task: what is searched in what.
        similarity: on ``device`` and in evaluation mode.
        device: where it is computed.
        first: the nearest match is of interest up to this rank.
        every: matches are of interest up to this rank of each query (Q,); counts of those further away are exact or
            ``BEYOND``.
        nearest: whether to tell the class of each query's nearest image as well.
        bfloat16: whether to begin with bfloat16; None: where the processor is fast at it and that pays.
    """

    def __init__(
        self,
        task: RetrievalTask,
        similarity: Similarity,
        device: torch.device,
        first: int,
        every: Indices,
        nearest: bool = False,
        *,
        bfloat16: bool | None = None,
    ) -> None:
        gallery, queries, own_set = task.gallery, task.queries, task.query_embeddings
        self.device = device if similarity.search != "hamming" else torch.device("cpu")
        self._source: InnerProductScores | HammingScores | PairwiseIntegerScores
        if similarity.search == "hamming":
            self._source = HammingScores(own_set, gallery.embeddings, similarity, device)
        elif similarity.search is None:
            self._source = PairwiseIntegerScores(own_set, gallery.embeddings, similarity, device)
        else:
            self._source = InnerProductScores(own_set, gallery.embeddings, similarity, device)
        self._size = len(gallery)
        self._seeks_nearest = nearest
        self._first, self._every = first, torch.from_numpy(every).to(self.device)  # (Q,)
        self._labels = torch.from_numpy(gallery.labels).to(self.device)  # (G,)
        self._query_labels = torch.from_numpy(queries.labels).to(self.device)  # (Q,)
        self._self_index = torch.from_numpy(task.self_index).to(self.device)  # (Q,)
        self._by_class = torch.from_numpy(np.argsort(gallery.labels, kind="stable")).to(self.device)  # (G,)
        labels = self._labels[self._by_class]
        self._class_begin = torch.searchsorted(labels, self._query_labels)  # (Q,)
        self._class_end = torch.searchsorted(labels, self._query_labels, right=True)
        has_other_class = (self._self_index >= 0) & (
            self._labels[self._self_index] != self._query_labels
        )  # another class in the gallery
        self._self_is_match = ~has_other_class  # (Q,)
        self._bfloat16 = self._float32 = None
        shallow = self._every.clamp(max=self._size // SHALLOW)  # nobody else is searched among the nearest
        self._duplicates = self._duplicates_before = torch.zeros_like(self._labels)
        if isinstance(self._source, InnerProductScores):
            self._duplicates, self._duplicates_before = _non_match_duplicates(
                self._source.first_duplicate, self._labels
            )
            if bfloat16 is None:
                bfloat16 = _multiplies_bfloat16(device) and bfloat16_pays(gallery.embeddings.shape, shallow)
            if self._source.is_moderate and bfloat16:
                self._bfloat16 = Bfloat16Prefilter(self._source, self._self_index, first, shallow, nearest=nearest)
        if not isinstance(self._source, PairwiseIntegerScores):
            self._float32 = Float32Prefilter(self._source, self._self_index, self._size, first, shallow)

    @property
    def is_shared_by_threads(self) -> bool:
        """Whether blocks may be counted by several threads at a time, and that pays."""
        return self.device.type == "cpu" and not isinstance(self._source, PairwiseIntegerScores)

    def look_ahead(
        self, blocks: Sequence[Block], threads: int, on_queries: Callable[[int], object]
    ) -> Iterator[tuple[Sequence[Block], bool]]:
        """Look for what may be ranked above matches, and yield ``blocks`` of consecutive queries to be counted then.

        Each run of them comes with whether ``on_queries`` was told of its queries: looking takes most of the time.
        """
        if self._bfloat16 is None or not all(parallel_map(self._plan, blocks, threads)):
            self._bfloat16 = None
            yield blocks, False
            return
        for some in self._swept_at_once(blocks):
            start, stop = some[0][0], some[-1][1]
            is_swept = self._bfloat16.sweep(start, stop, threads, on_queries)
            yield some, is_swept

    def count(self, queries: Tensor) -> RankCounts:
        """The matches of ``queries`` (b,), a block looked for, and how many non-matches are ranked above each."""
        matches = self._match_list(queries)
        above = torch.full_like(matches.row, BEYOND)  # (P,)
        nearest = torch.zeros_like(queries)  # (b,): gallery indices, where the nearest is not known to be a match
        if not len(matches.row) and not self._seeks_nearest:
            return RankCounts(matches, above, None)
        search = self._bfloat16 or self._float32
        deep = torch.ones(len(queries), dtype=torch.bool, device=self.device)
        if search is not None and len(matches.row) and self._is_shallow(queries):
            found = search.nearest(queries, matches)
            wanted = MatchList(matches.row[found.wanted], matches.image[found.wanted])
            above[found.wanted] = self._count_candidates(queries, wanted, found)
            deep = found.deep
            if self._seeks_nearest:
                asked = (~deep & ~_has_match_first(matches, above, len(queries))).nonzero()[:, 0]  # (r,)
                nearest[asked] = self._nearest_of(queries[asked], found.nearest_candidates(asked))
        rest = deep.nonzero()[:, 0]
        step = max(1, ELEMENTS_AT_ONCE // self._size)
        if isinstance(self._source, PairwiseIntegerScores):
            step = max(1, len(rest))
        for some in rest.split(step):  # type: ignore[no-untyped-call]
            row_in_part = torch.full((len(queries),), -1, device=self.device)
            row_in_part[some] = torch.arange(len(some), device=self.device)
            theirs = (row_in_part[matches.row] >= 0).nonzero()[:, 0]  # (p,)
            if not len(some) or not (len(theirs) or self._seeks_nearest):
                continue
            part = MatchList(row_in_part[matches.row[theirs]], matches.image[theirs])
            above[theirs], nearest[some] = self._count_in_rows(queries[some], part)
        if not self._seeks_nearest:
            return RankCounts(matches, above, None)
        is_match = _has_match_first(matches, above, len(queries))
        return RankCounts(matches, above, torch.where(is_match, self._query_labels[queries], self._labels[nearest]))

    def _is_shallow(self, queries: Tensor) -> bool:
        return SHALLOW * max(self._first, int(self._every[queries].max())) <= self._size

    @torch.no_grad()  # which a thread has to say for itself
    def _plan(self, block: Block) -> bool:
        queries = torch.arange(*block)
        assert self._bfloat16 is not None
        return not self._is_shallow(queries) or self._bfloat16.plan(queries, self._match_list(queries))

    def _swept_at_once(self, blocks: Sequence[Block]) -> Iterator[Sequence[Block]]:
        """Consecutive ``blocks`` that are not going to keep too many images: of one set all, if that can be."""
        assert self._bfloat16 is not None
        assert isinstance(self._source, InnerProductScores)
        most = KEPT_AT_ONCE if self._source.bfloat16_is_symmetric else KEPT_AT_ONCE // 8
        kept = np.append(0, np.cumsum(self._bfloat16.expected.double().numpy()))  # (Q + 1,)
        first = 0
        while first < len(blocks):
            last = first + 1
            while last < len(blocks) and kept[blocks[last][1]] - kept[blocks[first][0]] <= most:
                last += 1
            yield blocks[first:last]
            first = last

    def _match_list(self, queries: Tensor) -> MatchList:
        counts = (self._class_end - self._class_begin)[queries]  # (b,)
        row = torch.arange(len(queries), device=self.device).repeat_interleave(counts)  # (P,)
        nth = torch.arange(len(row), device=self.device) - (counts.cumsum(dim=0) - counts)[row]
        image = self._by_class[self._class_begin[queries][row] + nth]
        others = image != self._self_index[queries][row]
        return MatchList(row[others], image[others])

    def _count_candidates(self, queries: Tensor, matches: MatchList, found: PrefilterResult) -> Tensor:
        """How many non-matches are ranked above each of the wanted ``matches`` (p,) of ``queries`` (b,)."""
        row, image = matches
        other = self._labels[found.image] != self._query_labels[queries][found.row]  # (N,)
        theirs, images, values = (part[other] for part in (found.row, found.image, found.value))
        candidates = Candidates(theirs, images, values, len(queries), found.span)
        start, end, row_end = candidates.between(row, found.low, found.high)
        counts = found.beyond[row] + row_end - end  # (p,)
        only_duplicates = (end - start == self._duplicates[image]) & self._self_is_match[queries][row]
        undecided = (end > start) & ~only_duplicates
        counts = torch.where(undecided, counts, counts + torch.where(end > start, self._duplicates_before[image], 0))
        if undecided.any():
            who = undecided.nonzero()[:, 0]
            involved = candidates.union(start[who], end[who])  # (N,)
            before = torch.nn.functional.pad(involved.long().cumsum(dim=0), (1, 0))  # (N + 1,)
            counts[who] -= before[row_end[who]] - before[end[who]]
            counts[who] += self._exactly_above(
                queries, row[who], image[who], candidates.row[involved], candidates.column[involved]
            )
        return counts

    def _nearest_of(self, queries: Tensor, candidates: NearestCandidates) -> Tensor:
        """The gallery index (r,) of the image nearest to each of ``queries`` (r,)."""
        nearest = torch.empty_like(queries)
        source = self._source if isinstance(self._source, InnerProductScores) else None
        clear = (~candidates.unclear).nonzero()[:, 0]
        nth = torch.full_like(queries, -1).index_copy(0, clear, torch.arange(len(clear), device=self.device))
        row, image = nth[candidates.row], candidates.image
        row, image = row[row >= 0], image[row >= 0]
        nearest[clear] = nearest_of_candidates(source, queries[clear], row, image)
        if len(clear) < len(queries):
            assert source is not None
            some = queries[candidates.unclear]
            nearest[candidates.unclear] = nearest_by_double(source, some, self._self_index[some])
        return nearest

    def _count_in_rows(self, queries: Tensor, matches: MatchList) -> tuple[Tensor, Tensor]:
        """Of ``count``, for queries (b,) of which all images are looked at: counts (P,), and nearest non-matches (b,).

        Counts are exact for all matches, or only for the nearest one. A nearest non-match is only told if sought, for
        queries whose nearest image is none of the matches.
        """
        row, image = matches
        source = self._source
        slack: Tensor | None = None
        if isinstance(source, InnerProductScores):
            scores, error = source.double(queries)
            score = scores[row, image]
            # Rounding keeps the order, and float32 is compared and sorted in half the time.
            low, high = (score - 2 * error[row]).float(), (score + 2 * error[row]).float()
            scores, score = scores.float(), score.float()
            slack = (2 * error).float()
        else:
            scores = source.rows(queries)
            low = high = score = scores[row, image]
        lowest, _ = limits(scores.dtype)
        own = self._self_index[queries]
        itself = (own >= 0).nonzero()[:, 0]
        scores[itself, own[itself]] = lowest
        scores[row, image] = lowest
        # Where ranks beyond the first do not matter, only the nearest match does, or those it may tie with.
        best = torch.full((len(queries),), lowest, dtype=score.dtype, device=self.device)
        best.scatter_reduce_(0, row, low, reduce="amax")
        wanted = ((self._every[queries] > 0)[row] | (high >= best[row])).nonzero()[:, 0]  # (p,)
        counts = torch.full_like(row, BEYOND)
        counts[wanted] = self._above_in_rows(
            queries, MatchList(row[wanted], image[wanted]), scores, low[wanted], high[wanted]
        )
        nearest = torch.zeros_like(queries)
        asked = (~_has_match_first(matches, counts, len(queries))).nonzero()[:, 0]
        if self._seeks_nearest and len(asked):
            if isinstance(source, InnerProductScores):
                assert slack is not None
                rounded = scores[asked].amax(dim=1).abs() / 2**22  # of float64 to float32
                nearest[asked] = nearest_in_rows(source, queries[asked], scores[asked], slack[asked] + rounded)
            else:
                nearest[asked] = scores[asked].argmax(dim=1)
        return counts, nearest

    def _above_in_rows(self, queries: Tensor, matches: MatchList, scores: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """How many non-matches are ranked above ``matches`` (p,) with scores from ``low`` (p,) to ``high`` (p,)."""
        row, image = matches
        above, reached = count_larger(scores, row, low, high)  # (p,)
        if not isinstance(self._source, InnerProductScores):
            return above
        band = reached - above
        only_duplicates = (band == self._duplicates[image]) & self._self_is_match[queries][row]
        undecided = (band > 0) & ~only_duplicates
        above = torch.where(undecided, above, above + torch.where(band > 0, self._duplicates_before[image], 0))
        for one in row[undecided].unique():  # type: ignore[no-untyped-call]
            who = (undecided & (row == one)).nonzero()[:, 0]
            involved = columns_in_some_band(scores[one], low[who], high[who])  # (n,) columns
            larger = scores[one, involved].sort().values
            above[who] -= len(involved) - torch.searchsorted(larger, high[who], right=True)
            above[who] += self._exactly_above(
                queries, row[who], image[who], torch.full_like(involved, int(one)), involved
            )
        return above

    def _exactly_above(
        self, queries: Tensor, row: Tensor, image: Tensor, other_row: Tensor, other_image: Tensor
    ) -> Tensor:
        """How many of the other images are above each match (p,) of the same row, in float64, ties by gallery index."""
        assert isinstance(self._source, InnerProductScores)
        rows, images = torch.cat([row, other_row]), torch.cat([image, other_image])
        scores = self._source.exact(queries[rows], images)
        order = images.argsort()
        order = order[scores[order].argsort(descending=True, stable=True)]
        order = order[rows[order].argsort(stable=True)]
        is_other = order >= len(row)
        before = is_other.long().cumsum(dim=0)  # (n,): of all rows so far
        row_starts = torch.searchsorted(rows[order], torch.arange(len(queries), device=rows.device))
        earlier_rows = torch.nn.functional.pad(before, (1, 0))[row_starts]  # (b,)
        counts = torch.empty_like(before)
        counts[order] = before - earlier_rows[rows[order]]
        return counts[: len(row)]


def _has_match_first(matches: MatchList, above: Tensor, rows: int) -> Tensor:
    """Which rows (b,) have a match with no non-match above it."""
    is_first = torch.zeros(rows, dtype=torch.bool, device=above.device)
    return is_first.index_fill(0, matches.row[above == 0], True)


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` is an x86 processor on which oneDNN multiplies bfloat16 fast; on others it was not tried."""
    is_x86 = device.type == "cpu" and platform.machine() in ("x86_64", "AMD64")
    return is_x86 and torch.backends.mkldnn.is_available() and bool(has_fast_bfloat16(device))  # type: ignore[no-untyped-call]


def _non_match_duplicates(first: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """For each image (G,) how many of other classes have the very same embedding, and how many of these are before it.

    ``first`` (G,) is the first image with its embedding.
    """
    if torch.equal(first, torch.arange(len(first), device=first.device)):
        return torch.zeros_like(first), torch.zeros_like(first)
    classes = torch.unique(labels, return_inverse=True)[1]  # (G,)
    pair = first * (int(classes.max()) + 1) + classes  # same embedding and same class
    (all_of_it, all_before), (of_class, class_before) = (_size_and_index(group) for group in (first, pair))
    return all_of_it - of_class, all_before - class_before


def _size_and_index(group: Tensor) -> tuple[Tensor, Tensor]:
    """How many are in the group of each (N,), and how many of these are before it (N,)."""
    _, number, sizes = torch.unique(group, return_inverse=True, return_counts=True)
    order = number.argsort(stable=True)
    index = torch.empty_like(order)
    index[order] = torch.arange(len(order), device=order.device) - (sizes.cumsum(dim=0) - sizes)[number[order]]
    return sizes[number], index
