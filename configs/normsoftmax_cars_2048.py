# metricforge train normsoftmax_cars_2048
# NormSoftmax on Cars196 in 2,048 dimensions, as floats and bits (Zhai & Wu 2018).
# The paper's best (Tables 6 and 7): ResNet-50's pooled features without a linear layer, scored as floats (8,192 bytes
# per image) and by their signs (256 bytes).
_base_ = ["normsoftmax_cars.py"]

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
