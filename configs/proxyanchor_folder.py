# metricforge train proxyanchor_folder --cfg-options data_root=FOLDER
# Proxy anchor (Kim et al. 2020), on a folder with one sub-folder per class.
# From a pretrained EfficientNet-Lite0. The proxies learn at a hundred times the backbone's rate, as in the paper.
_base_ = [
    "_base_/datasets/image_folder.py",
    "_base_/models/pretrained_lite0.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(
    similarity=dict(type="CosineSimilarity"),
    loss=dict(type="ProxyAnchorLoss"),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1), "loss.proxies": dict(lr_mult=10)}),
)
