# metricforge train triplet_glyphs
# Triplet loss with semi-hard negatives, on Glyphs.
_base_ = ["_base_/datasets/glyphs.py", "_base_/schedules/glyphs_adamw.py", "_base_/runtime/default.py"]

model = dict(
    backbone=dict(type="GlyphNet"),
    head=dict(type="EmbeddingHead", dim=128, layer_norm=True),
    similarity=dict(type="EuclideanSimilarity"),
    miner=dict(type="SemiHardTripletMiner", margin=0.2),
    loss=dict(type="TripletLoss", margin=0.2),
)
