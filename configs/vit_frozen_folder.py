# metricforge train vit_frozen_folder --cfg-options data_root=FOLDER
# NormSoftmax on a frozen vision transformer, on a folder with one sub-folder per class.
# For a few hundred images, or a processor: 200,000 weights learn, and what pretraining brought cannot be lost.
_base_ = [
    "_base_/datasets/image_folder_224.py",
    "_base_/models/pretrained_vit_small.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(freeze=["backbone"])
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))
