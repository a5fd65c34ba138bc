# metricforge train multisimilarity_folder --cfg-options data_root=FOLDER
# Multi-similarity loss and miner (Wang et al. 2019), on a folder with one sub-folder per class.
# From a pretrained EfficientNet-Lite0.
_base_ = [
    "_base_/datasets/image_folder.py",
    "_base_/models/pretrained_lite0.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(
    similarity=dict(type="CosineSimilarity"),
    miner=dict(type="MultiSimilarityMiner", epsilon=0.1),
    loss=dict(type="MultiSimilarityLoss"),
)
