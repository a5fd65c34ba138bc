"""What a score means, in half a sentence."""

from __future__ import annotations

import re

MEANINGS = (
    (r"recall@1", "queries whose nearest image is a match"),
    (r"precision@1", "queries whose nearest image is a match"),
    (r"cmc@1", "queries whose best-ranked identity is their own"),
    (r"recall@(\d+)", "queries with a match among their {0} nearest images"),
    (r"precision@(\d+)", "matches among the {0} nearest images"),
    (r"cmc@(\d+)", "queries whose match is among the {0} best-ranked identities"),
    (r"map@r", "precision averaged over the ranks up to R, the number of matches there are"),
    (r"r_precision", "matches among the R nearest images, R being the number of matches there are"),
    (r"map", "average precision over the whole ranking"),
    (r"mrr", "one over the rank of the first match"),
    (r"nmi", "how well clusters of the embeddings agree with the classes"),
    (r"ami", "how well clusters agree with the classes, less what chance would give"),
    (r"pair_f1|f1", "pairs of images that clusters and classes agree on"),
    (r"roc_auc", "how often a matching pair scores above a non-matching one"),
    (r"eer", "where false accepts are as frequent as false rejects; smaller is better"),
    (r"tar@far=(.+)", "matching pairs accepted where a share of {0} of the others is"),
    (r"ncm|nearest_class_mean", "queries nearest to the mean of their own class"),
)
SPACES = (
    (r"binary", "by the signs of the embedding alone"),
    (r"pca:(\d+)", "in the {0} directions of largest variance"),
    (r"first:(\d+)", "by the first {0} dimensions"),
    (r"int8", "with a byte a dimension"),
)


def score_meaning(name: str) -> str:
    """Say what the score ``name`` means; empty for one of a plug-in."""
    *places, last = name.split("/")
    meaning = _said(MEANINGS, last)
    if not meaning:
        return ""
    where = [_said(SPACES, place) or f"in {place}" for place in places]
    return ", ".join([meaning, *where])


def _said(known: tuple[tuple[str, str], ...], name: str) -> str:
    for pattern, text in known:
        found = re.fullmatch(pattern, name)
        if found:
            return text.format(*found.groups())
    return ""
