# python tools/train.py configs/pddm_folder.py --cfg-options data_root=FOLDER
# PDDM (Huang et al. 2016) on any folder with a sub-folder a class, from a pretrained EfficientNet-Lite0. Scored by the
# learned similarity and, as euclidean/..., by the distance of the embeddings. d = 128 as in the paper; a quadruplet for
# every anchor where the paper takes one a batch, from which few epochs learn little.
_base_ = [
    "_base_/datasets/image_folder.py",
    "_base_/models/pretrained_lite0.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(
    head=dict(dim=128),
    similarity=dict(type="PDDM", dropout=0.5),
    miner=dict(type="HardQuadrupletMiner", per="anchor"),
    loss=dict(type="DoubleHeaderHingeLoss", alpha=0.5, beta=1.0, embedding_weight=0.5),
)
optim_wrapper = dict(optimizer=dict(weight_decay=5e-4))
evaluators = [
    dict(type="RecallAtK", ks=[1, 2, 4, 8]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
    dict(
        type="ScoresBySimilarity",
        name="euclidean",
        similarity=dict(type="EuclideanSimilarity"),
        evaluators=[dict(type="RecallAtK", ks=[1, 2, 4, 8]), dict(type="MAPAtR"), dict(type="RPrecision")],
    ),
    dict(
        type="ScoresBySimilarity",
        name="binary",
        similarity=dict(type="HammingSimilarity"),
        evaluators=[dict(type="RecallAtK", ks=[1, 2, 4, 8])],
    ),
]
