# python tools/train.py configs/normsoftmax_folder.py --cfg-options data_root=FOLDER
# NormSoftmax on any folder with one sub-folder a class, from a pretrained EfficientNet-Lite0, in six epochs.
# Without access to the model hub add model.backbone.weights=FILE, a file of the same network.
_base_ = ["_base_/datasets/image_folder.py", "_base_/runtime/default.py"]

model = dict(
    backbone=dict(type="TimmBackbone", name="tf_efficientnet_lite0", pretrained=True, frozen_batch_norm=True),
    head=dict(type="EmbeddingHead", dim=512, layer_norm=True),
    similarity=dict(type="CosineSimilarity"),
    loss=dict(type="NormSoftmaxLoss", temperature=0.05),
)
baselines = dict(untrained=dict(similarity=dict(type="CosineSimilarity")))
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.5)}),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.04, begin=0, end=2, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", T_max=4, begin=2, end=6, eta_min=0, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=6)
