# CUB-200-2011: classes 1-100 train, 101-200 are retrieved.
_base_ = ["papers_images.py"]
_images = dict(type="CUB200Dataset", root="data/CUB_200_2011")
train_dataloader = dict(dataset=_images)
test_dataloader = dict(dataset=_images)
evaluators = [
    dict(type="RecallAtK", ks=[1, 2, 4, 8, 16, 32]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
    dict(type="PairF1"),
]
