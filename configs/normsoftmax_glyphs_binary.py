# metricforge train normsoftmax_glyphs_binary
# NormSoftmax on Glyphs, scored as floats and as bits.
# Scored twice: by its 512 floats (2,048 bytes per image) and by their signs (64 bytes).
_base_ = ["normsoftmax_glyphs.py"]

model = dict(head=dict(dim=512))
evaluators = [
    dict(type="RecallAtK", ks=[1, 2, 4, 8]),
    dict(type="MAPAtR"),
    dict(type="RPrecision"),
    dict(type="NMI"),
    dict(
        type="ScoresBySimilarity",
        name="binary",
        similarity=dict(type="HammingSimilarity"),
        evaluators=[dict(type="RecallAtK", ks=[1, 2, 4, 8]), dict(type="MAPAtR"), dict(type="NMI")],
    ),
]
