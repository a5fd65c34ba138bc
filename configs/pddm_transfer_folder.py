# metricforge train pddm_transfer_folder --cfg-options data_root=FOLDER
# PDDM's transfer to new classes of a folder by class means (Huang et al. 2016, Table 2).
# The first 80 in 100 classes train; the others are told apart by the means of their own images, flat top-1, which is
# euclidean/ncm@1. A query is left out of its class's mean.
_base_ = ["pddm_hard_folder.py"]

_classes = dict(train_fraction=0.8)
train_dataloader = dict(dataset=_classes)
test_dataloader = dict(dataset=_classes)
_means = dict(type="NearestClassMean", ks=[1, 5])
evaluators = [
    _means,
    dict(
        type="ScoresBySimilarity",
        name="euclidean",
        similarity=dict(type="EuclideanSimilarity"),
        evaluators=[_means],
    ),
]
final_evaluators = []
baselines = dict(_delete_=True, untrained=dict(similarity=dict(type="CosineSimilarity")))
validation = None  # the weights of the last epoch, as in the paper
readout = None
checkpoint = dict(save_best=None)
