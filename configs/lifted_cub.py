# metricforge train lifted_cub
# Lifted structured embedding on CUB-200-2011 (Song et al. 2016, section 5).
# GoogLeNet, batches of 128, 20,000 steps, SGD at 1e-4, the new layer's weights at 10 times and its bias at 20 times
# that, embeddings not normalised.
# Deviation: 32 classes x 4 images a batch; the paper's own batches are in lifted_pairs_cub (section 5) and
# lifted_difficult_cub (section 4).
_base_ = ["_base_/datasets/cub.py", "_base_/recipes/googlenet_64.py", "_base_/runtime/paper.py"]

train_dataloader = dict(
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=32, samples_per_class=4),
)
model = dict(
    miner=dict(type="LiftedStructureMiner"),
    loss=dict(type="LiftedStructureLoss", margin=1.0),
)
train_cfg = dict(max_epochs=444, val_interval=20)  # 45 iterations an epoch: 19,980
