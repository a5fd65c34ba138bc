# metricforge train pddm_zero_shot_folder --cfg-options data_root=FOLDER
# PDDM's zero-shot classification by a class tree, on a folder (Huang et al. 2016, Table 2).
# The first 80 in 100 classes train; the means of the others are estimated from the tree, without an image of them, flat
# top-5, which is euclidean/zero_shot@5. Classes are called as in WordNet, n01443537; for others name a tree in a CSV
# file, evaluators.0.tree=FILE evaluators.1.evaluators.0.tree=FILE.
_base_ = ["pddm_transfer_folder.py"]

test_dataloader = dict(dataset=dict(split="zero_shot"))
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
