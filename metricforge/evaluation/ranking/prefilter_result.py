"""What a prefilter says about the images nearest to a block of queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class MatchList(NamedTuple):
    """Matches of some queries: ``row`` (P,) of the block, ascending, and ``image`` (P,), the gallery index."""

    row: Tensor
    image: Tensor


class NearestCandidates(NamedTuple):
    """Images that may be the nearest of the rows asked for: ``row`` (N,) of these rows and ``image`` (N,).

    Rows that are ``unclear`` (r,) have too many, and none here.
    """

    row: Tensor
    image: Tensor
    unclear: Tensor


class PrefilterResult(NamedTuple):
    """Which matches may be of interest, and which gallery images may be ranked above them.

    ``beyond`` (b,) images are surely above all matches of a query. Of the matches ``wanted`` (p,), indices into the
    list of them, images with a score below ``low`` (p,) are surely ranked below, above ``high`` (p,) surely above; all
    others that are not beyond are ``image`` (N,), matches among them, for query ``row`` (N,), with ``value`` (N,), of
    which those of a query differ by less than ``span`` steps of their sorted order. Nothing is said about queries that
    are ``deep`` (b,): too many images are of interest. ``nearest_candidates`` tells, for rows (r,) of the block that
    are not deep, which images may be their nearest; ask before the next block is looked at.
    """

    wanted: Tensor
    low: Tensor
    high: Tensor
    beyond: Tensor
    row: Tensor
    image: Tensor
    value: Tensor
    span: int
    deep: Tensor
    nearest_candidates: Callable[[Tensor], NearestCandidates]
