# metricforge train pddm_hard_folder --cfg-options data_root=FOLDER
# PDDM (Huang et al. 2016) with the hardest quadruplets, on a folder with one sub-folder per class.
# From a pretrained EfficientNet-Lite0. For six epochs instead of up to 400: a quadruplet for every
# anchor where the paper takes one a batch, a smaller margin of the distances with a larger weight, and 512 dimensions,
# because 128 of a new layer start far below the pretrained feature.
_base_ = [
    "_base_/datasets/image_folder.py",
    "_base_/models/pretrained_lite0.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(
    similarity=dict(type="PDDM", dropout=0.5),
    miner=dict(type="HardQuadrupletMiner", per="anchor"),
    loss=dict(type="DoubleHeaderHingeLoss", alpha=0.5, beta=0.2, embedding_weight=5.0),
)
optim_wrapper = dict(
    optimizer=dict(lr=5e-4, weight_decay=5e-4), paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)})
)
# After each epoch the embeddings are scored by their distance, and the learned score puts the 100 nearest into order.
# Ranking by the score alone takes every pair of images: that is left to the end of training, and to test.py.
_scores = [dict(type="RecallAtK", ks=[1, 2, 4, 8]), dict(type="MAPAtR"), dict(type="RPrecision")]
_distance = dict(type="EuclideanSimilarity")
evaluators = [
    dict(type="ScoresBySimilarity", name="euclidean", similarity=_distance, evaluators=_scores),
    dict(type="ReRanked", similarity=_distance, shortlist=100, evaluators=[_scores[0]], agreement=[]),
    dict(type="NMI"),
    dict(
        type="ScoresBySimilarity",
        name="binary",
        similarity=dict(type="HammingSimilarity"),
        evaluators=[_scores[0]],
    ),
]
final_evaluators = [*_scores, dict(type="ReRanked", similarity=_distance, evaluators=[], agreement=[1, 10])]
checkpoint = dict(save_best="reranked/recall@1")
