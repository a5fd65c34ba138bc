evaluators = [
    dict(ks=[
        1,
        2,
    ], type='RecallAtK'),
    dict(type='MAPAtR'),
    dict(type='NMI'),
]
model = dict(
    backbone=dict(type='GlyphNet'),
    head=dict(dim=8, dropout=0.3, type='EmbeddingHead'),
    loss=dict(margin=0.5, type='TripletLoss'),
    miner=dict(type='RandomTripletMiner'),
    similarity=dict(type='EuclideanSimilarity'))
optim_wrapper = dict(
    constructor='ParameterGroups', optimizer=dict(lr=0.001, type='AdamW'))
param_scheduler = [
    dict(
        T_max=3,
        begin=0,
        convert_to_iter_based=True,
        end=3,
        type='CosineAnnealingLR'),
]
seed = 3
test_dataloader = dict(
    batch_size=7,
    dataset=dict(
        root='/tmp/pytest-of-root/pytest-128/images0',
        split='test',
        transform=[
            dict(size=16, type='CenterCrop'),
        ],
        type='ImageFolderDataset'))
train_cfg = dict(log_interval=2, max_epochs=3)
train_dataloader = dict(
    dataset=dict(
        root='/tmp/pytest-of-root/pytest-128/images0',
        split='train',
        transform=[
            dict(size=16, type='RandomCrop'),
            dict(type='RandomHorizontalFlip'),
        ],
        type='ImageFolderDataset'),
    sampler=dict(
        classes_per_batch=2,
        samples_per_class=2,
        type='ClassBalancedBatchSampler'))
visualizer = dict(
    type='Visualizer', vis_backends=[
        dict(type='MLflowVisBackend'),
    ])
