"""Calibration by what an evaluation has embedded."""

from __future__ import annotations

from metricforge.evaluation import EvaluationContext
from metricforge.evaluation.calibration import Calibration, calibrate_embeddings


def calibrate_context(context: EvaluationContext) -> Calibration:
    """Calibrate by the images that ``context`` searches with and in, and by its similarity.

    Raises:
        EmbeddingsError: as ``calibrate_embeddings`` does.
    """
    gallery = None if context.searches_itself else context.gallery
    return calibrate_embeddings(context.queries, gallery, context.similarity)
