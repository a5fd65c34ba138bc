# metricforge train normsoftmax_inshop
# NormSoftmax on In-Shop (Zhai & Wu 2018, section 6.1).
# Batches of 15 classes x 5, SGD at 1e-2. The paper names 5 images per class for Stanford Online Products only; In-Shop
# has as few.
_base_ = ["_base_/datasets/inshop.py", "_base_/recipes/normsoftmax.py", "_base_/runtime/paper.py"]

_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(transform=[_squash, dict(type="RandomCrop", size=224), dict(type="RandomHorizontalFlip")]),
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=15, samples_per_class=5),
)
test_dataloader = dict(dataset=dict(transform=[_squash, dict(type="CenterCrop", size=224)]))
