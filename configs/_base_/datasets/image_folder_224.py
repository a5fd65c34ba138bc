# As image_folder.py, at the 224 pixels of most vision transformers.
_base_ = "image_folder.py"

train_dataloader = dict(
    dataset=dict(
        transform=[
            dict(type="RandomResizedCrop", size=224, scale=(0.3, 1.0), interpolation="bicubic"),
            dict(type="RandomHorizontalFlip"),
        ]
    )
)
test_dataloader = dict(
    dataset=dict(transform=[dict(type="Resize", size=(224, 224), interpolation="bicubic")]), batch_size=64
)
