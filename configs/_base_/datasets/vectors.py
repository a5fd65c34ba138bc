# Vectors of any tool, of any kind of thing: embeddings (N, F) and labels (N,). Half of the classes trains, the other
# half is retrieved.
train_dataloader = dict(
    dataset=dict(type="VectorDataset", file="vectors.npz", root="data", split="train"),
    sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=32, samples_per_class=4, fewer_classes="all"),
)
test_dataloader = dict(
    dataset=dict(type="VectorDataset", file="vectors.npz", root="data", split="test"),
    batch_size=4096,
)
evaluators = [
    dict(type="RecallAtK", ks=[1, 2, 4, 8]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
]
