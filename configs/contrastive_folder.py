# metricforge train contrastive_folder --cfg-options data_root=FOLDER
# Contrastive loss over the hardest pairs of a batch, on a folder with one sub-folder per class.
# From a pretrained EfficientNet-Lite0.
_base_ = [
    "_base_/datasets/image_folder.py",
    "_base_/models/pretrained_lite0.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(
    similarity=dict(type="EuclideanSimilarity"),
    miner=dict(type="HardPairMiner"),
    loss=dict(type="ContrastiveLoss", margin=1.0),
)
