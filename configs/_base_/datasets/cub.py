# CUB-200-2011: classes 1-100 train, 101-200 are retrieved. The papers' images: squashed to 256x256, cropped to 227x227.
_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(
        type="CUB200Dataset",
        root="data/CUB_200_2011",
        split="train",
        transform=[_squash, dict(type="RandomCrop", size=227), dict(type="RandomHorizontalFlip")],
    ),
    num_workers=4,
)
test_dataloader = dict(
    dataset=dict(
        type="CUB200Dataset",
        root="data/CUB_200_2011",
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
