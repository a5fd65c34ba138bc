# metricforge train normsoftmax_sop_googlenet
# NormSoftmax on SOP from GoogLeNet, as floats and bits (Zhai & Wu 2018, Table 1).
# 512 dimensions, crops of 227, SGD at 1e-3: the paper names 1e-2 and 1e-3 and says that BatchNorm allows the higher
# one, unlike GoogLeNet. Deviation: the paper's GoogLeNet is Caffe's, without BatchNorm; torchvision's has 57 BatchNorm
# layers.
_base_ = ["normsoftmax_sop.py"]

_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(transform=[_squash, dict(type="RandomCrop", size=227), dict(type="RandomHorizontalFlip")])
)
test_dataloader = dict(dataset=dict(transform=[_squash, dict(type="CenterCrop", size=227)]))
model = dict(backbone=dict(name="googlenet"))
# Section 6.2: "training all parameters from start with 10x learning rate on new parameters" on this data set alone.
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(custom_keys={"head": dict(lr_mult=10), "loss": dict(lr_mult=10)}),
)
param_scheduler = [dict(type="MultiStepLR", milestones=[15], gamma=0.1, by_epoch=True)]
train_cfg = dict(max_epochs=30, warmup_epochs=0)
evaluators = [
    *_base_.evaluators,
    dict(
        type="ScoresBySimilarity",
        name="binary",
        similarity=dict(type="HammingSimilarity"),
        evaluators=[dict(type="RecallAtK", ks=[1, 10, 100, 1000])],
    ),
]
