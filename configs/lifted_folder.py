# metricforge train lifted_folder --cfg-options data_root=FOLDER
# Lifted structured embedding (Song et al. 2016, Eq. 4), on a folder with one sub-folder per class.
# From a pretrained EfficientNet-Lite0. As in the paper, embeddings are not normalised.
_base_ = [
    "_base_/datasets/image_folder.py",
    "_base_/models/pretrained_lite0.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(
    head=dict(l2_normalize=False),
    similarity=dict(type="EuclideanSimilarity"),
    miner=dict(type="LiftedStructureMiner"),
    loss=dict(type="LiftedStructureLoss", margin=1.0),
)
