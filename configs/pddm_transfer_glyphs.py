# metricforge train pddm_transfer_glyphs
# PDDM's transfer to new classes by nearest class means (Huang et al. 2016, Table 2), on Glyphs.
# One half of the characters trains; the others are told apart by the means of their own images, flat top-1, which is
# euclidean/ncm@1. A query is left out of its class's mean.
_base_ = ["pddm_hard_glyphs.py"]

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
baselines = dict(untrained=dict(similarity=dict(type="CosineSimilarity")))
validation = None  # the weights of the last epoch, as in the paper
checkpoint = dict(save_best=None)
