# NormSoftmax (Zhai & Wu 2018, section 6.1): ResNet-50, 512 dimensions, one epoch on the new layers only, then 30 on
# all, SGD, a tenth of its rate from the 15th of the 30 on. It begins from the weights that the authors' ResNet-50 had
# (top-1 76.1 on ImageNet), not from torchvision's later ones (80.9).
model = dict(
    backbone=dict(type="TorchvisionBackbone", name="resnet50", weights="IMAGENET1K_V1"),
    head=dict(type="EmbeddingHead", dim=512, layer_norm=True),
    similarity=dict(type="CosineSimilarity"),
    loss=dict(type="NormSoftmaxLoss", temperature=0.05),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=1e-2, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type="MultiStepLR", milestones=[16], gamma=0.1, by_epoch=True)]
train_cfg = dict(max_epochs=31, warmup_epochs=1, val_interval=5)
