# metricforge train normsoftmax_folder --cfg-options data_root=FOLDER
# NormSoftmax (Zhai & Wu 2018), on a folder with one sub-folder per class.
# From a pretrained EfficientNet-Lite0, in six epochs. Without access to the model hub, add
# model.backbone.weights=FILE with a file of the same network.
_base_ = [
    "_base_/datasets/image_folder.py",
    "_base_/models/pretrained_lite0.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(
    similarity=dict(type="CosineSimilarity"),
    loss=dict(type="NormSoftmaxLoss", temperature=0.05),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.5)}))
