# PDDM (Huang et al. 2016, section 3.3): GoogLeNet, d = 128, one hard quadruplet a batch, SGD at 1e-4, weight decay
# 5e-4, at most 400 epochs. The paper's GoogLeNet is Caffe's, without BatchNorm; torchvision's has 57 BatchNorm layers.
model = dict(
    backbone=dict(type="TorchvisionBackbone", name="googlenet", weights="IMAGENET1K_V1"),
    head=dict(type="EmbeddingHead", dim=128),
    similarity=dict(type="PDDM", dropout=0.5),
    miner=dict(type="HardQuadrupletMiner"),
    loss=dict(type="DoubleHeaderHingeLoss", alpha=0.5, beta=1.0, embedding_weight=0.5),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=1e-4, momentum=0.9, weight_decay=5e-4))
train_cfg = dict(max_epochs=400, val_interval=20)
