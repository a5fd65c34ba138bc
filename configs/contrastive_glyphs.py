# metricforge train contrastive_glyphs
# Contrastive loss over all pairs of a batch, on Glyphs.
_base_ = ["_base_/datasets/glyphs.py", "_base_/schedules/glyphs_adamw.py", "_base_/runtime/default.py"]

model = dict(
    backbone=dict(type="GlyphNet"),
    head=dict(type="EmbeddingHead", dim=128, layer_norm=True),
    similarity=dict(type="EuclideanSimilarity"),
    miner=dict(type="HardPairMiner"),
    loss=dict(type="ContrastiveLoss", margin=1.0),
)
