# metricforge train proxynca_folder --cfg-options data_root=FOLDER
# Proxy-NCA (Movshovitz-Attias et al. 2017), on a folder with one sub-folder per class.
_base_ = ["normsoftmax_folder.py"]

model = dict(
    loss=dict(_delete_=True, type="ProxyNCALoss"),
)
