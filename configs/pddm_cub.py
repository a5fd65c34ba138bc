# python tools/train.py configs/pddm_cub.py
# PDDM on CUB-200-2011 (Huang et al. 2016, section 3.3): GoogLeNet, d = 128, batches of 64 with 4 images of a class,
# one hard quadruplet a batch, SGD at 1e-4, weight decay 5e-4, at most 400 epochs.
_base_ = ["_base_/datasets/cub.py", "_base_/runtime/default.py"]

train_dataloader = dict(
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=16, samples_per_class=4),
)
model = dict(
    backbone=dict(type="TorchvisionBackbone", name="googlenet", pretrained=True),
    head=dict(type="EmbeddingHead", dim=128),
    similarity=dict(type="PDDM", dropout=0.5),
    miner=dict(type="HardQuadrupletMiner"),
    loss=dict(type="DoubleHeaderHingeLoss", alpha=0.5, beta=1.0, embedding_weight=0.5),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=1e-4, momentum=0.9, weight_decay=5e-4))
train_cfg = dict(max_epochs=400, val_interval=20)
# Table 1 has Recall@K by the distance of the features and by the learned score. 5,924 images are few enough to rank by
# the score each time; the re-ranked shortlist shows how near one comes without that.
_recall = dict(type="RecallAtK", ks=[1, 2, 4, 8, 16, 32])
_distance = dict(type="EuclideanSimilarity")
evaluators = [
    _recall,
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
    dict(type="ScoresBySimilarity", name="euclidean", similarity=_distance, evaluators=[_recall]),
]
final_evaluators = [dict(type="ReRanked", similarity=_distance, shortlist=100, evaluators=[_recall], agreement=[1, 10])]
