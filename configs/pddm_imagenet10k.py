# metricforge train pddm_imagenet10k
# PDDM from ImageNet 2010 to ImageNet-10K by nearest class means (Huang et al. 2016, Table 2).
# Both are folders of class folders. The paper does not say which images the means of the 10,000 classes are of: here
# all but the query itself. Scored by the distance of the features, flat top-1: euclidean/ncm@1.
_base_ = ["_base_/datasets/papers_images.py", "_base_/recipes/pddm_caffenet.py", "_base_/runtime/paper.py"]

train_dataloader = dict(
    dataset=dict(type="ImageFolderDataset", root="data/imagenet2010/train", split="all"),
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=16, samples_per_class=4),
)
test_dataloader = dict(dataset=dict(type="ImageFolderDataset", root="data/imagenet10k", split="all"))
evaluators = [
    dict(
        type="ScoresBySimilarity",
        name="euclidean",
        similarity=dict(type="EuclideanSimilarity"),
        evaluators=[dict(type="NearestClassMean", ks=[1, 5])],
    ),
]
