# Cars196: classes 1-98 train, 99-196 are retrieved, of both official parts.
_base_ = ["papers_images.py"]
_images = dict(type="Cars196Dataset", root="data/cars196")
train_dataloader = dict(dataset=_images)
test_dataloader = dict(dataset=_images)
evaluators = [
    dict(type="RecallAtK", ks=[1, 2, 4, 8, 16, 32]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
    dict(type="PairF1"),
]
