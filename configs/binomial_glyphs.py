# metricforge train binomial_glyphs
# Binomial deviance loss (Ustinova and Lempitsky 2016), on Glyphs.
_base_ = ["normsoftmax_glyphs.py"]

model = dict(
    loss=dict(_delete_=True, type="BinomialDevianceLoss"),
)
