# metricforge train pddm_cars
# PDDM on Cars196 (Huang et al. 2016, section 3.3).
# GoogLeNet, d = 128, batches of 64 with 4 images of a class, one hard quadruplet a batch, SGD at 1e-4, weight decay
# 5e-4, at most 400 epochs. Retrieved both ways, as in the paper's Table 1: by the learned score and, as euclidean/...,
# by the distance of the embeddings.
_base_ = ["_base_/datasets/cars.py", "_base_/recipes/pddm.py", "_base_/runtime/paper.py"]

train_dataloader = dict(
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=16, samples_per_class=4),
)
evaluators = [
    *_base_.evaluators,
    dict(
        type="ScoresBySimilarity",
        name="euclidean",
        similarity=dict(type="EuclideanSimilarity"),
        evaluators=[dict(type="RecallAtK", ks=[1, 2, 4, 8, 16, 32]), dict(type="MAPAtR"), dict(type="RPrecision")],
    ),
]
