# In-Shop Clothes Retrieval: 3,997 classes train; of 3,985 others, 14,218 queries are searched in a gallery of 12,612
# images. The paper's images: squashed to 256x256, cropped to 227x227.
_squash = dict(type="Resize", size=(256, 256))
train_dataloader = dict(
    dataset=dict(
        type="InShopDataset",
        root="data/inshop",
        split="train",
        transform=[_squash, dict(type="RandomCrop", size=227), dict(type="RandomHorizontalFlip")],
    ),
    num_workers=4,
)
test_dataloader = dict(
    dataset=dict(
        type="InShopDataset",
        root="data/inshop",
        split="test",
        transform=[_squash, dict(type="CenterCrop", size=227)],
    ),
    batch_size=128,
    num_workers=4,
)
evaluators = [
    dict(type="RecallAtK", ks=[1, 10, 20, 30, 40, 50]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
]
