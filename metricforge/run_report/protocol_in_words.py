"""How scores were measured, as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SIMILARITIES = {
    "CosineSimilarity": "the cosine of the angle between embeddings",
    "EuclideanSimilarity": "the Euclidean distance between embeddings",
    "HammingSimilarity": "the number of bits in which thresholded embeddings differ",
}


def protocol_in_words(protocol: Mapping[str, Any]) -> list[str]:
    """Tell what was searched in what, by which similarity, with which weights; only what ``protocol`` says."""
    return list(_sentences(protocol))


def _sentences(protocol: Mapping[str, Any]) -> Iterator[str]:
    data = protocol.get("dataset") or {}
    if data.get("name"):
        yield f"Measured on {data['name']}."
    queries, gallery, classes = (protocol.get(name) for name in ("queries", "gallery", "classes"))
    if queries is not None and gallery is not None:
        yield _searched(queries, gallery, classes, str(protocol.get("self_exclusion", "")))
    if protocol.get("exclude"):
        yield f"Images of the {protocol['exclude']} count as neither match nor non-match."
    alone = protocol.get("queries_without_match")
    if alone:
        yield f"{alone:,} queries have no image of their class to find, and count for no score of retrieval."
    similarity = (protocol.get("similarity") or {}).get("type")
    if similarity:
        ties = protocol.get("ties", "by order")
        yield f"Nearest means by {SIMILARITIES.get(similarity, similarity)}; ties go {ties}."
    embedding = protocol.get("embedding") or {}
    if embedding.get("dimensions"):
        size = f"An embedding has {embedding['dimensions']:,} dimensions"
        held = embedding.get("bytes_per_vector")
        yield size + (f" and takes {held:,} bytes." if held else ".")
    choice = protocol.get("choice")
    if choice:
        yield _chosen(choice, protocol.get("epoch"))


def _searched(queries: int, gallery: int, classes: int | None, exclusion: str) -> str:
    of = f" of {classes:,} classes" if classes else ""
    if exclusion.startswith("by id") and queries == gallery:
        return f"Each of {queries:,} images{of} is a query among all the others; no query finds itself."
    itself = "; a query that is there too never finds itself" if exclusion.startswith("by id") else ""
    return f"{queries:,} queries{of} are searched in a gallery of {gallery:,} images{itself}."


def _chosen(choice: Mapping[str, Any], epoch: int | None) -> str:
    weights = str(choice.get("weights", "given weights"))
    told = f"The weights are those of the {weights}"
    if choice.get("layer"):  # of a readout
        told = f"Embeddings are the {choice['layer']} at {weights} weights, one of {choice.get('among')} candidates"
    if epoch is not None:
        told += f" (epoch {epoch}" + (f" of {choice['trained_epochs']})" if choice.get("trained_epochs") else ")")
    if choice.get("score"):
        told += f", chosen by {choice['score']} on {choice.get('classes', '?')} {choice.get('by')}"
    elif choice.get("reason"):
        told += f": {choice['reason']}"
    looks = choice.get("test_looks")
    if looks:
        told += f"; the test classes were scored {'once' if looks == 1 else f'{looks} times'}"
    if str(choice.get("by") or "").startswith("test"):
        told += ". The test classes themselves chose the weights, so the scores are too high"
    return told + "."
