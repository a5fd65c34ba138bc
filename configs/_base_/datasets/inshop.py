# In-Shop Clothes Retrieval: 3,997 classes train; of 3,985 others, 14,218 queries are searched in a gallery of 12,612
# images.
_base_ = ["papers_images.py"]
_images = dict(type="InShopDataset", root="data/inshop")
train_dataloader = dict(dataset=_images)
test_dataloader = dict(dataset=_images)
evaluators = [
    dict(type="RecallAtK", ks=[1, 10, 20, 30, 40, 50]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
]
