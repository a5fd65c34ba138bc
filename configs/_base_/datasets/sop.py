# Stanford Online Products: 11,318 classes train, 11,316 others are retrieved. The papers' images: squashed to 256x256,
# cropped to 227x227.
_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(
        type="StanfordOnlineProductsDataset",
        root="data/Stanford_Online_Products",
        split="train",
        transform=[_squash, dict(type="RandomCrop", size=227), dict(type="RandomHorizontalFlip")],
    ),
    num_workers=4,
)
test_dataloader = dict(
    dataset=dict(
        type="StanfordOnlineProductsDataset",
        root="data/Stanford_Online_Products",
        split="test",
        transform=[_squash, dict(type="CenterCrop", size=227)],
    ),
    batch_size=128,
    num_workers=4,
)
evaluators = [
    dict(type="RecallAtK", ks=[1, 10, 100, 1000]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
    dict(type="PairF1"),
]
