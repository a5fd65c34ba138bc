# metricforge train proxyanchor_glyphs
# Proxy anchor (Kim et al. 2020), on Glyphs.
_base_ = ["_base_/datasets/glyphs.py", "_base_/schedules/glyphs_adamw.py", "_base_/runtime/default.py"]

model = dict(
    backbone=dict(type="GlyphNet"),
    head=dict(type="EmbeddingHead", dim=128, layer_norm=True),
    similarity=dict(type="CosineSimilarity"),
    loss=dict(type="ProxyAnchorLoss"),
)
