# metricforge train triplet_folder --cfg-options data_root=FOLDER
# Triplet loss with semi-hard negatives, on a folder with one sub-folder per class.
# From a pretrained EfficientNet-Lite0.
_base_ = [
    "_base_/datasets/image_folder.py",
    "_base_/models/pretrained_lite0.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(
    similarity=dict(type="EuclideanSimilarity"),
    miner=dict(type="SemiHardTripletMiner", margin=0.2),
    loss=dict(type="TripletLoss", margin=0.2),
)
