# metricforge train vit_lora_folder --cfg-options data_root=FOLDER
# NormSoftmax with LoRA in a vision transformer, on a folder with one sub-folder per class.
# For thousands of images and a GPU: one per cent of the weights learns. Needs pip install "metricforge[peft]".
_base_ = [
    "_base_/datasets/image_folder_224.py",
    "_base_/models/pretrained_vit_small.py",
    "_base_/schedules/finetune_adamw.py",
    "_base_/runtime/default.py",
]

model = dict(backbone=dict(adapter=dict(type="LoRA", rank=8)))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.3)}))
