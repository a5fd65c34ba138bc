# metricforge train lifted_difficult_glyphs
# Lifted structured embedding in batches with difficult neighbours, on Glyphs.
# Song et al. 2016, section 4: 32 positive pairs, and for each of their 64 images the nearest of another class.
_base_ = ["_base_/datasets/glyphs.py", "_base_/schedules/glyphs_adamw.py", "_base_/runtime/default.py"]

train_dataloader = dict(
    sampler=dict(
        _delete_=True,
        type="DifficultNeighbourBatchSampler",
        pairs_per_batch=32,
        neighbours_per_image=1,
        refresh_interval=2,
    ),
)
model = dict(
    backbone=dict(type="GlyphNet"),
    head=dict(type="EmbeddingHead", dim=64, layer_norm=True, l2_normalize=False),
    similarity=dict(type="EuclideanSimilarity"),
    miner=dict(type="LiftedStructureMiner"),
    loss=dict(type="LiftedStructureLoss", margin=1.0),
)
