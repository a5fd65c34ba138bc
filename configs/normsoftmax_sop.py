# python tools/train.py configs/normsoftmax_sop.py
# NormSoftmax on Stanford Online Products (Zhai & Wu 2018, section 6.1): ResNet-50, 512 dimensions, batches of
# 15 classes x 5, one epoch on the new layers only, then 30 on all, SGD at 1e-2, a tenth from the 15th of the 30 on.
_base_ = ["_base_/datasets/sop.py", "_base_/runtime/default.py"]

_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(transform=[_squash, dict(type="RandomCrop", size=224), dict(type="RandomHorizontalFlip")]),
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=15, samples_per_class=5),
)
test_dataloader = dict(dataset=dict(transform=[_squash, dict(type="CenterCrop", size=224)]))
model = dict(
    backbone=dict(type="TorchvisionBackbone", name="resnet50", pretrained=True),
    head=dict(type="EmbeddingHead", dim=512, layer_norm=True),
    similarity=dict(type="CosineSimilarity"),
    loss=dict(type="NormSoftmaxLoss", temperature=0.05),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=1e-2, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type="MultiStepLR", milestones=[16], gamma=0.1, by_epoch=True)]
train_cfg = dict(max_epochs=31, warmup_epochs=1, val_interval=5)
