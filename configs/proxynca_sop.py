# metricforge train proxynca_sop
# Proxy-NCA (Movshovitz-Attias et al. 2017) on SOP, for Zhai & Wu 2018, Table 2.
# BN-Inception, 64 dimensions, one proxy a class. But for these it is trained by NormSoftmax's recipe (section 6.1),
# and not by that of its own paper.
_base_ = ["normsoftmax_sop.py"]

model = dict(
    backbone=dict(_delete_=True, type="BNInception", weights="data/bn_inception-52deb4733.pth"),
    head=dict(dim=64),
    loss=dict(_delete_=True, type="ProxyNCALoss"),
)
