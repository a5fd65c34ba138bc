# metricforge train lifted_difficult_cub
# Lifted structured embedding on CUB in batches with difficult neighbours (Song et al. 2016).
# Section 4: 32 positive pairs, and for each of their 64 images the nearest of another class. The paper says neither how
# many there are of each nor how old the embeddings may be by which they are found.
_base_ = ["lifted_cub.py"]

train_dataloader = dict(
    sampler=dict(_delete_=True, type="DifficultNeighbourBatchSampler", pairs_per_batch=32, neighbours_per_image=1),
)
