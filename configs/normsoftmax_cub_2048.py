# python tools/train.py configs/normsoftmax_cub_2048.py
# NormSoftmax's best on CUB-200-2011 (Zhai & Wu 2018, Tables 6 and 7): ResNet-50's 2,048 pooled
# features without a linear layer, scored as floats (8,192 bytes an image) and by their signs (256 bytes).
_base_ = ["normsoftmax_cub.py"]

model = dict(head=dict(dim=None))
evaluators = [
    *_base_.evaluators,
    dict(
        type="ScoresBySimilarity",
        name="binary",
        similarity=dict(type="HammingSimilarity"),
        evaluators=[dict(type="RecallAtK", ks=[1, 2, 4, 8])],
    ),
]
