# metricforge train multisimilarity_glyphs
# Multi-similarity loss and miner (Wang et al. 2019), on Glyphs.
_base_ = ["_base_/datasets/glyphs.py", "_base_/schedules/glyphs_adamw.py", "_base_/runtime/default.py"]

model = dict(
    backbone=dict(type="GlyphNet"),
    head=dict(type="EmbeddingHead", dim=128, layer_norm=True),
    similarity=dict(type="CosineSimilarity"),
    miner=dict(type="MultiSimilarityMiner", epsilon=0.1),
    loss=dict(type="MultiSimilarityLoss"),
)
