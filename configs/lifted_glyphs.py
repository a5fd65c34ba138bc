# metricforge train lifted_glyphs
# Lifted structured embedding (Song et al. 2016, Eq. 4), on Glyphs.
_base_ = ["_base_/datasets/glyphs.py", "_base_/schedules/glyphs_adamw.py", "_base_/runtime/default.py"]

model = dict(
    backbone=dict(type="GlyphNet"),
    head=dict(type="EmbeddingHead", dim=128, layer_norm=True, l2_normalize=False),
    similarity=dict(type="EuclideanSimilarity"),
    miner=dict(type="LiftedStructureMiner"),
    loss=dict(type="LiftedStructureLoss", margin=1.0),
)
