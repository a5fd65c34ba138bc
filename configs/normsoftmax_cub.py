# metricforge train normsoftmax_cub
# NormSoftmax on CUB-200-2011 (Zhai & Wu 2018, section 6.1).
# ResNet-50, 512 dimensions, batches of 3 classes x 25, one epoch on the new layers only, then 30 on all, SGD at 1e-3,
# a tenth of it from the 15th of the 30 on.
_base_ = ["_base_/datasets/cub.py", "_base_/recipes/normsoftmax.py", "_base_/runtime/paper.py"]

_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(transform=[_squash, dict(type="RandomCrop", size=224), dict(type="RandomHorizontalFlip")]),
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=3, samples_per_class=25),
)
test_dataloader = dict(dataset=dict(transform=[_squash, dict(type="CenterCrop", size=224)]))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
