# metricforge train proxynca_glyphs
# Proxy-NCA (Movshovitz-Attias et al. 2017), on Glyphs.
_base_ = ["normsoftmax_glyphs.py"]

model = dict(
    loss=dict(_delete_=True, type="ProxyNCALoss"),
)
