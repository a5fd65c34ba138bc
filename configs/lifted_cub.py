# python tools/train.py configs/lifted_cub.py
# Lifted structured embedding on CUB-200-2011 (Song et al. 2016, section 5): GoogLeNet, batches of 128, 20,000 steps,
# SGD at 1e-4, the new layer's weights at 10 times and its bias at 20 times that, embeddings not normalised.
# Deviation: 32 classes x 4 images a batch, where the released code draws random positive pairs.
_base_ = ["_base_/datasets/cub.py", "_base_/runtime/default.py"]

train_dataloader = dict(
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=32, samples_per_class=4),
)
model = dict(
    backbone=dict(type="TorchvisionBackbone", name="googlenet", pretrained=True, dropout=0.4),
    head=dict(type="EmbeddingHead", dim=64, l2_normalize=False, bias=True),
    similarity=dict(type="EuclideanSimilarity"),
    miner=dict(type="LiftedStructureMiner"),
    loss=dict(type="LiftedStructureLoss", margin=1.0),
)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=1e-4, momentum=0.9, weight_decay=2e-4),
    paramwise_cfg=dict(custom_keys={"head.linear.weight": dict(lr_mult=10), "head.linear.bias": dict(lr_mult=20)}),
)
train_cfg = dict(max_epochs=445, val_interval=20)  # 45 iterations an epoch: 20,025
