# metricforge train binomial_folder --cfg-options data_root=FOLDER
# Binomial deviance loss (Ustinova and Lempitsky 2016), on a folder with one sub-folder per class.
_base_ = ["normsoftmax_folder.py"]

model = dict(
    loss=dict(_delete_=True, type="BinomialDevianceLoss"),
)
