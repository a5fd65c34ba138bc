# metricforge train pddm_imagenet_zero_shot
# PDDM on 800 classes of ImageNet 2010, zero-shot on 200 (Huang et al. 2016, Table 2).
# The paper takes the split of others and does not print it: here the first 800 in the order of their names; give those
# of another with train_dataloader.dataset.train_classes=FILE and test_dataloader.dataset.train_classes=FILE. The means
# of the 200 are estimated from those of all their ancestors in WordNet that have training classes.
_base_ = ["_base_/datasets/papers_images.py", "_base_/recipes/pddm_caffenet.py", "_base_/runtime/paper.py"]

_images = dict(type="ImageFolderDataset", root="data/imagenet2010/train", train_fraction=0.8)
train_dataloader = dict(
    dataset=_images,
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=16, samples_per_class=4),
)
test_dataloader = dict(dataset=dict(**_images, split="zero_shot"))
_means = dict(type="ZeroShot", tree="wordnet", ks=[1, 5])
evaluators = [
    _means,
    dict(
        type="ScoresBySimilarity",
        name="euclidean",
        similarity=dict(type="EuclideanSimilarity"),
        evaluators=[_means],
    ),
]
