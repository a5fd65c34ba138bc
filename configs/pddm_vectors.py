# metricforge train pddm_vectors --cfg-options data_root=FOLDER
# PDDM (Huang et al. 2016) on vectors that another network made: FOLDER/vectors.npz.
# Shows whether a score that knows position finds more in them than the distance of a linear head.
# The file has embeddings (N, F) and labels (N,).
# Deviations from the paper: those of pddm_folder.
_base_ = ["normsoftmax_vectors.py"]

model = dict(
    similarity=dict(_delete_=True, type="PDDM", init="distance", dropout=0.0),
    miner=dict(type="HardQuadrupletMiner", per="pair", negatives="semi_hard"),
    loss=dict(_delete_=True, type="DoubleHeaderHingeLoss", alpha=0.5, beta=0.2, embedding_weight=5.0),
)
train_dataloader = dict(sampler=dict(classes_per_batch=16))  # the paper's m = 64
_scores = [dict(type="RecallAtK", ks=[1, 2, 4, 8]), dict(type="MAPAtR"), dict(type="RPrecision")]
_distance = dict(type="EuclideanSimilarity")
evaluators = [
    *_scores,
    dict(type="ScoresBySimilarity", name="euclidean", similarity=_distance, evaluators=_scores),
    dict(type="NMI"),
]
