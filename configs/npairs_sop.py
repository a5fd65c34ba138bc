# metricforge train npairs_sop
# N-pair loss (Sohn 2016) on Stanford Online Products, beside Zhai & Wu 2018, Table 1.
# 512 dimensions, batches of 64 classes x 2 images. But for the loss it is trained by Song et al.'s recipe (2016,
# section 5), GoogLeNet for 20,000 steps, and not by that of its own paper.
_base_ = ["_base_/datasets/sop.py", "_base_/recipes/googlenet_64.py", "_base_/runtime/paper.py"]

train_dataloader = dict(sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=64, samples_per_class=2))
model = dict(
    head=dict(dim=512),
    loss=dict(type="NPairsLoss", l2_weight=0.001),
)
final_evaluators = []  # Zhai & Wu cluster by k-means
train_cfg = dict(max_epochs=43, val_interval=10)  # 465 iterations an epoch: 19,995
