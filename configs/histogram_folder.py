# metricforge train histogram_folder --cfg-options data_root=FOLDER
# Histogram loss (Ustinova and Lempitsky 2016), on a folder with one sub-folder per class.
_base_ = ["normsoftmax_folder.py"]

model = dict(
    loss=dict(_delete_=True, type="pml.HistogramLoss", n_bins=100),
)
