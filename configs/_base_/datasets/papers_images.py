# The images of the papers' recipes: squashed to 256x256, then cropped to 227x227. A data set's own file inherits this.
_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(
        split="train", transform=[_squash, dict(type="RandomCrop", size=227), dict(type="RandomHorizontalFlip")]
    ),
    num_workers=4,
)
test_dataloader = dict(
    dataset=dict(split="test", transform=[_squash, dict(type="CenterCrop", size=227)]), batch_size=128, num_workers=4
)
