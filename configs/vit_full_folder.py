# metricforge train vit_full_folder --cfg-options data_root=FOLDER
# NormSoftmax on a whole vision transformer, on a folder with one sub-folder per class.
# For tens of thousands of images and a GPU. Layers far from the head, which see edges and textures, learn least.
_base_ = [
    "_base_/datasets/image_folder_224.py",
    "_base_/models/pretrained_vit_small.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(backbone=dict(drop_path_rate=0.1))
optim_wrapper = dict(
    optimizer=dict(weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.03)}, layer_decay=0.75),
)
