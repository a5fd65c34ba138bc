# metricforge train normsoftmax_cars
# NormSoftmax on Cars196 (Zhai & Wu 2018, section 6.1).
# Batches of 3 classes x 25, SGD at 1e-2.
_base_ = ["_base_/datasets/cars.py", "_base_/recipes/normsoftmax.py", "_base_/runtime/paper.py"]

_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(transform=[_squash, dict(type="RandomCrop", size=224), dict(type="RandomHorizontalFlip")]),
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=3, samples_per_class=25),
)
test_dataloader = dict(dataset=dict(transform=[_squash, dict(type="CenterCrop", size=224)]))
