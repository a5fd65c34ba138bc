"""The nearest image of each query, among the few that rounding leaves open or in whole rows of scores."""

from __future__ import annotations

import torch
from torch import Tensor

from metricforge.evaluation.search.inner_product_scores import InnerProductScores
from metricforge.evaluation.search.row_counts import limits

ELEMENTS_AT_ONCE = 2**22


def nearest_of_candidates(source: InnerProductScores | None, queries: Tensor, row: Tensor, image: Tensor) -> Tensor:
    """The gallery index (b,) of the nearest of the candidates ``image`` (N,) of each row ``row`` (N,), ties by index.

    Args:
        source: compares in float64; None where no row has two candidates.
        queries: which query each row is (b,); every row has a candidate.
        row: ascending or not.
        image: gallery indices.
    """
    if not len(queries):
        return torch.empty_like(queries)
    counts = torch.bincount(row, minlength=len(queries))  # (b,)
    assert bool((counts > 0).all()), "every query has a nearest image"
    first = torch.full((len(queries),), torch.iinfo(torch.int64).max, device=image.device)
    nearest = first.scatter_reduce(0, row, image, reduce="amin")  # (b,): the answer where all candidates are equal
    if source is None or int(counts.max()) == 1:
        return nearest
    group = source.first_duplicate[image]  # (N,)
    differs = torch.zeros(len(queries), dtype=torch.bool, device=image.device)
    differs[row[group != source.first_duplicate[nearest][row]]] = True
    open_ones = differs[row].nonzero()[:, 0]  # (n,)
    if not len(open_ones):
        return nearest
    row, image = row[open_ones], image[open_ones]
    scores = source.exact(queries[row], image)
    order = image.argsort()
    order = order[scores[order].argsort(descending=True, stable=True)]
    order = order[row[order].argsort(stable=True)]
    row, image = row[order], image[order]
    is_first = torch.nn.functional.pad(row[1:] != row[:-1], (1, 0), value=True)
    nearest[row[is_first]] = image[is_first]
    return nearest


def nearest_in_rows(
    source: InnerProductScores | None, queries: Tensor, scores: Tensor, slack: Tensor | None = None
) -> Tensor:
    """The gallery index (b,) of the nearest image by whole rows of ``scores`` (b, G), ties by index.

    Args:
        source: compares in float64 what ``scores`` leave open; None where these are final and differ.
        queries: which query each row is (b,).
        scores: lowest for what must not be found.
        slack: scores of a row that differ by more rank correctly (b,).
    """
    if source is None or slack is None:
        return scores.argmax(dim=1)
    best = scores.amax(dim=1)  # (b,)
    least = (best - slack).clamp(min=torch.finfo(scores.dtype).min)  # a row may hold nothing but the lowest
    row, image = (scores >= least[:, None]).nonzero(as_tuple=True)
    return nearest_of_candidates(source, queries, row, image)


def nearest_by_double(source: InnerProductScores, queries: Tensor, self_index: Tensor) -> Tensor:
    """The gallery index (b,) of the image nearest to each of ``queries`` (b,), from whole rows of float64 scores.

    ``self_index`` (b,) is the gallery index of the query itself, -1 where it is not in the gallery.
    """
    nearest = torch.empty_like(queries)
    step = max(1, ELEMENTS_AT_ONCE // len(source.first_duplicate))
    for start in range(0, len(queries), step):
        some = slice(start, start + step)
        scores, error = source.double(queries[some])  # (b, G), (b,)
        column = self_index[some]
        row = (column >= 0).nonzero()[:, 0]
        scores[row, column[row]] = limits(scores.dtype)[0]
        nearest[some] = nearest_in_rows(source, queries[some], scores, 2 * error)
    return nearest
