"""What a search says of the images nearest to a block of queries."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class MatchList(NamedTuple):
    """Right images of some queries: whose (P,), rows of the block, ascending; and which gallery image (P,)."""

    row: Tensor
    image: Tensor


class PrefilterResult(NamedTuple):
    """Which right images may be of interest, and which gallery images may be ranked before them.

    ``beyond`` (b,) images are surely before all right ones of a query. Of the right images ``wanted`` (p,), places
    among them, others with a score below ``low`` (p,) are surely behind, above ``high`` (p,) surely before; those of
    all that are neither behind nor beyond are ``image`` (N,), right ones among them, for query ``row`` (N,), with
    ``value`` (N,), of which those of a query differ by less than ``span`` places of their sorted order. Nothing is said
    of queries that are ``deep`` (b,): too many are.
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
