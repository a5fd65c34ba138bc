# metricforge train normsoftmax_vectors --cfg-options data_root=FOLDER
# NormSoftmax (Zhai & Wu 2018) on vectors that another network made.
# FOLDER/vectors.npz has embeddings (N, F) and labels (N,). A linear head trains in seconds; vectors are the baseline.
_base_ = ["_base_/datasets/vectors.py", "_base_/runtime/default.py"]

model = dict(
    backbone=dict(type="IdentityBackbone"),
    head=dict(type="EmbeddingHead", dim=128, layer_norm=True),
    similarity=dict(type="CosineSimilarity"),
    loss=dict(type="NormSoftmaxLoss", temperature=0.05),
)
baselines = dict(vectors=dict(similarity=dict(type="CosineSimilarity")))
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, begin=0, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", T_max=9, begin=1, end=10, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=10)
