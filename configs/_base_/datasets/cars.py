# Cars196: classes 1-98 train, 99-196 are retrieved, of both official parts. The papers' images: squashed to 256x256,
# cropped to 227x227.
_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(
        type="Cars196Dataset",
        root="data/cars196",
        split="train",
        transform=[_squash, dict(type="RandomCrop", size=227), dict(type="RandomHorizontalFlip")],
    ),
    num_workers=4,
)
test_dataloader = dict(
    dataset=dict(
        type="Cars196Dataset",
        root="data/cars196",
        split="test",
        transform=[_squash, dict(type="CenterCrop", size=227)],
    ),
    batch_size=128,
    num_workers=4,
)
evaluators = [
    dict(type="RecallAtK", ks=[1, 2, 4, 8, 16, 32]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
    dict(type="PairF1"),
]
