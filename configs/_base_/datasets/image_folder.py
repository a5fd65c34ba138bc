# Your own images: a folder with one sub-folder per class. The first half of the classes trains, the second half tests.
train_dataloader = dict(
    dataset=dict(
        type="ImageFolderDataset",
        root="data/images",
        split="train",
        transform=[
            dict(type="RandomResizedCrop", size=128, scale=(0.3, 1.0)),
            dict(type="RandomHorizontalFlip"),
        ],
    ),
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=16, samples_per_class=4, fewer_classes="all"),
    num_workers=2,
)
test_dataloader = dict(
    dataset=dict(
        type="ImageFolderDataset",
        root="data/images",
        split="test",
        transform=[dict(type="Resize", size=(128, 128))],
    ),
    batch_size=128,
    num_workers=2,
)
evaluators = [
    dict(type="RecallAtK", ks=[1, 2, 4, 8]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
    dict(
        type="ScoresBySimilarity",
        name="binary",  # by the signs alone: an eighth of a byte a dimension, for four bytes
        similarity=dict(type="HammingSimilarity"),
        evaluators=[dict(type="RecallAtK", ks=[1, 2, 4, 8])],
    ),
]
