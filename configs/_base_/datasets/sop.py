# Stanford Online Products: 11,318 classes train, 11,316 others are retrieved.
_base_ = ["papers_images.py"]
_images = dict(type="StanfordOnlineProductsDataset", root="data/Stanford_Online_Products")
train_dataloader = dict(dataset=_images)
test_dataloader = dict(dataset=_images)
evaluators = [
    dict(type="RecallAtK", ks=[1, 10, 100, 1000]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
    dict(type="PairF1"),
]
