# metricforge train normsoftmax_cub_googlenet
# NormSoftmax on CUB from GoogLeNet, floats and bits (Zhai & Wu 2018, Table 1 and Figure 2).
# 512 dimensions, crops of 227, SGD at 1e-3: the paper names 1e-2 and 1e-3 and says that BatchNorm allows the higher
# one, unlike GoogLeNet. Deviation: the paper's GoogLeNet is Caffe's, without BatchNorm; torchvision's has 57 BatchNorm
# layers.
_base_ = ["normsoftmax_cub.py"]

_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(transform=[_squash, dict(type="RandomCrop", size=227), dict(type="RandomHorizontalFlip")])
)
test_dataloader = dict(dataset=dict(transform=[_squash, dict(type="CenterCrop", size=227)]))
model = dict(backbone=dict(name="googlenet"))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
evaluators = [
    *_base_.evaluators,
    dict(
        type="ScoresBySimilarity",
        name="binary",
        similarity=dict(type="HammingSimilarity"),
        evaluators=[dict(type="RecallAtK", ks=[1, 2, 4, 8])],
    ),
]
