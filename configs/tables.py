# python tools/reproduce.py TABLE
# The papers' tables: which config and options each row is, and what the paper printed, in per cent and in the order of
# the table's scores. A row without figures is in a picture of the paper, or told in words (`note`).
# `reduced` is the table at a size for any machine, on Glyphs or a folder of images: by default with the same rows, and
# with nothing to compare to.
_cub = ["recall@1", "recall@2", "recall@4", "recall@8"]  # Cars196 as well
_cub_32 = [*_cub, "recall@16", "recall@32"]
_sop = ["recall@1", "recall@10", "recall@100", "recall@1000"]
_inshop = ["recall@1", "recall@10", "recall@20", "recall@30", "recall@40", "recall@50"]

_dim = "model.head.dim"
_classes = "train_dataloader.sampler.classes_per_batch"
_images = "train_dataloader.sampler.samples_per_class"
_googlenet = {
    "model.backbone.name": "googlenet",
    "train_dataloader.dataset.transform.1.size": 227,
    "test_dataloader.dataset.transform.1.size": 227,
}
_bn_inception = {
    "model.backbone.type": "BNInception",
    "model.backbone.weights": "data/bn_inception-52deb4733.pth",
}
# at 1,024 dimensions the embedding is the pooled feature itself (the paper, section 6.6)
_bn_inception_1024 = {**_bn_inception, _dim: None}
_bn_inception_rates = "the paper does not say which learning rate BN-Inception had on which images; ResNet-50's here"
_em_alone = "the paper: at least 3.4 points lower by the score and 6.5 by distance"
_lifted_batches = "the paper does not say its embedding size, 64 here; affinity: clustered as the paper does"

_normsoftmax = dict(glyphs="normsoftmax_glyphs.py", folder="normsoftmax_folder.py")
_normsoftmax_binary = dict(glyphs="normsoftmax_glyphs_binary.py", folder="normsoftmax_folder.py")
_pddm = dict(glyphs="pddm_glyphs.py", folder="pddm_folder.py")
_lifted = dict(glyphs="lifted_glyphs.py", folder="lifted_folder.py")
_contrastive = dict(glyphs="contrastive_glyphs.py", folder="contrastive_folder.py")
_triplet = dict(glyphs="triplet_glyphs.py", folder="triplet_folder.py")

_by_score_and_distance = ["recall@1", "map@r", "euclidean/recall@1", "euclidean/map@r"]
_floats_and_bits = ["recall@1", "binary/recall@1", "map@r", "nmi"]
_sizes = [
    dict(name="16 dimensions", options={_dim: 16}),
    dict(name="64 dimensions", options={_dim: 64}),
    dict(name="128 dimensions", options={_dim: 128}),
    dict(name="512 dimensions", options={_dim: 512}),
]
_reduced_sizes = dict(config=_normsoftmax_binary, scores=_floats_and_bits, rows=_sizes)
_losses = [
    dict(name="contrastive, 64", config=_contrastive, options={_dim: 64}),
    dict(name="contrastive, 512", config=_contrastive, options={_dim: 512}),
    dict(name="triplet, 64", config=_triplet, options={_dim: 64}),
    dict(name="triplet, 512", config=_triplet, options={_dim: 512}),
    dict(name="lifted, 64", config=_lifted, options={_dim: 64}),
    dict(name="lifted, 512", config=_lifted, options={_dim: 512}),
]
_batches = [
    dict(name="m = 32", options={_classes: 8}),
    dict(name="m = 64", options={_classes: 16}),
    dict(name="m = 128", options={_classes: 32}),
]

tables = {
    "normsoftmax-table1": dict(
        title="NormSoftmax on GoogLeNet, 512 dimensions",
        source="Zhai and Wu 2018, Table 1",
        scores=[*_cub, "nmi"],
        rows=[
            dict(
                name="SOP",
                config="normsoftmax_sop.py",
                options=_googlenet,
                scores=[*_sop, "nmi"],
                paper=[69.0, 84.5, 93.1, 97.8, 88.2],
            ),
            dict(
                name="Cars196", config="normsoftmax_cars.py", options=_googlenet, paper=[75.2, 84.7, 90.4, 94.2, 64.5]
            ),
            dict(
                name="CUB-200-2011",
                config="normsoftmax_cub.py",
                options=_googlenet,
                paper=[55.3, 67.0, 77.6, 85.4, 62.8],
            ),
        ],
        reduced=_reduced_sizes,
    ),
    "normsoftmax-table2": dict(
        title="NormSoftmax on BN-Inception, 512 dimensions",
        source="Zhai and Wu 2018, Table 2",
        note=_bn_inception_rates,
        scores=[*_cub, "nmi"],
        rows=[
            dict(
                name="SOP",
                config="normsoftmax_sop.py",
                options=_bn_inception,
                scores=[*_sop, "nmi"],
                paper=[73.8, 88.1, 95.0, 98.3, 89.8],
            ),
            dict(
                name="Cars196",
                config="normsoftmax_cars.py",
                options=_bn_inception,
                paper=[81.7, 88.9, 93.4, 96.0, 70.5],
            ),
            dict(
                name="CUB-200-2011",
                config="normsoftmax_cub.py",
                options=_bn_inception,
                paper=[59.6, 72.0, 81.2, 88.4, 66.2],
            ),
        ],
        reduced=_reduced_sizes,
    ),
    "normsoftmax-table3": dict(
        title="NormSoftmax on ResNet-50",
        source="Zhai and Wu 2018, Table 3",
        scores=[*_cub, "nmi"],
        rows=[
            dict(
                name="SOP, 128",
                config="normsoftmax_sop.py",
                options={_dim: 128},
                scores=[*_sop, "nmi"],
                paper=[75.2, 88.7, 95.2, 98.4, 90.4],
            ),
            dict(
                name="SOP, 512",
                config="normsoftmax_sop.py",
                scores=[*_sop, "nmi"],
                paper=[78.2, 90.6, 96.2, 98.8, 91.0],
            ),
            dict(
                name="Cars196, 128",
                config="normsoftmax_cars.py",
                options={_dim: 128},
                paper=[81.6, 88.7, 93.4, 96.3, 72.9],
            ),
            dict(name="Cars196, 512", config="normsoftmax_cars.py", paper=[84.2, 90.4, 94.4, 96.9, 74.0]),
            dict(
                name="CUB-200-2011, 128",
                config="normsoftmax_cub.py",
                options={_dim: 128},
                paper=[56.5, 69.6, 79.9, 87.6, 66.9],
            ),
            dict(name="CUB-200-2011, 512", config="normsoftmax_cub.py", paper=[61.3, 73.9, 83.5, 90.0, 69.7]),
        ],
        reduced=_reduced_sizes,
    ),
    "normsoftmax-table4": dict(
        title="NormSoftmax by images of a class in a batch of 75",
        source="Zhai and Wu 2018, Table 4: ResNet-50, 512 dimensions, CUB-200-2011",
        config="normsoftmax_cub.py",
        scores=["recall@1"],
        rows=[
            dict(
                name="not balanced",
                options={
                    "train_dataloader.sampler.type": "RandomBatchSampler",
                    "train_dataloader.sampler.batch_size": 75,
                },
                paper=[59.5],
            ),
            dict(name="1 image of 75 classes", options={_classes: 75, _images: 1}, paper=[59.6]),
            dict(name="3 images of 25 classes", options={_classes: 25, _images: 3}, paper=[60.0]),
            dict(name="12 images of 6 classes", options={_classes: 6, _images: 12}, paper=[60.8]),
            dict(name="25 images of 3 classes", paper=[61.3]),
            dict(name="37 images of 2 classes", options={_classes: 2, _images: 37}, paper=[59.6]),
            dict(name="75 images of 1 class", options={_classes: 1, _images: 75}, paper=[40.9]),
        ],
        reduced=dict(
            config=_normsoftmax,
            rows=[
                dict(
                    name="not balanced",
                    options={
                        "train_dataloader.sampler.type": "RandomBatchSampler",
                        "train_dataloader.sampler.batch_size": 64,
                    },
                ),
                dict(name="2 images of 32 classes", options={_classes: 32, _images: 2}),
                dict(name="4 images of 16 classes", options={_classes: 16, _images: 4}),
                dict(name="8 images of 8 classes", options={_classes: 8, _images: 8}),
                dict(name="16 images of 4 classes", options={_classes: 4, _images: 16}),
            ],
        ),
    ),
    "normsoftmax-table5": dict(
        title="NormSoftmax by temperature",
        source="Zhai and Wu 2018, Table 5: ResNet-50, 512 dimensions, CUB-200-2011",
        config="normsoftmax_cub.py",
        scores=["recall@1"],
        rows=[
            dict(name="T = 0.005", options={"model.loss.temperature": 0.005}, paper=[19.3]),
            dict(name="T = 0.01", options={"model.loss.temperature": 0.01}, paper=[38.8]),
            dict(name="T = 0.03", options={"model.loss.temperature": 0.03}, paper=[57.0]),
            dict(name="T = 0.05", paper=[61.3]),
            dict(name="T = 0.1", options={"model.loss.temperature": 0.1}, paper=[61.6]),
            dict(name="T = 0.5", options={"model.loss.temperature": 0.5}, paper=[54.8]),
            dict(name="T = 1.0", options={"model.loss.temperature": 1.0}, paper=[50.5]),
        ],
        reduced=dict(config=_normsoftmax),
    ),
    "normsoftmax-table6": dict(
        title="NormSoftmax on Stanford Online Products and In-Shop",
        source="Zhai and Wu 2018, Table 6: ResNet-50 and BN-Inception",
        note=_bn_inception_rates,
        scores=_sop,
        rows=[
            dict(
                name="SOP, BN-Inception 1024",
                config="normsoftmax_sop.py",
                options=_bn_inception_1024,
                paper=[74.7, 88.3, 95.2, 98.5],
            ),
            dict(name="SOP, 128", config="normsoftmax_sop.py", options={_dim: 128}, paper=[75.2, 88.7, 95.2, 98.4]),
            dict(name="SOP, 512", config="normsoftmax_sop.py", paper=[78.2, 90.6, 96.2, 98.8]),
            dict(name="SOP, 2048", config="normsoftmax_sop_2048.py", paper=[79.5, 91.5, 96.7, 98.9]),
            dict(
                name="SOP, 2048 bits",
                config="normsoftmax_sop_2048.py",
                prefix="binary/",
                paper=[78.2, 90.9, 96.4, 98.8],
            ),
            dict(
                name="In-Shop, BN-Inception 1024",
                config="normsoftmax_inshop.py",
                options=_bn_inception_1024,
                scores=_inshop,
                paper=[86.6, 97.0, 98.0, 98.5, 98.7, 98.9],
            ),
            dict(
                name="In-Shop, 128",
                config="normsoftmax_inshop.py",
                options={_dim: 128},
                scores=_inshop,
                paper=[86.6, 96.8, 97.8, 98.3, 98.6, 98.8],
            ),
            dict(
                name="In-Shop, 512",
                config="normsoftmax_inshop.py",
                scores=_inshop,
                paper=[88.6, 97.5, 98.4, 98.8, 99.0, 99.0],
            ),
            dict(
                name="In-Shop, 2048",
                config="normsoftmax_inshop_2048.py",
                scores=_inshop,
                paper=[89.4, 97.8, 98.7, 99.0, 99.2, 99.3],
            ),
            dict(
                name="In-Shop, 2048 bits",
                config="normsoftmax_inshop_2048.py",
                scores=_inshop,
                prefix="binary/",
                paper=[88.8, 97.8, 98.5, 98.8, 99.0, 99.1],
            ),
        ],
        reduced=_reduced_sizes,
    ),
    "normsoftmax-table7": dict(
        title="NormSoftmax on Cars196 and CUB-200-2011",
        source="Zhai and Wu 2018, Table 7: ResNet-50 and BN-Inception",
        note=_bn_inception_rates,
        scores=_cub,
        rows=[
            dict(
                name="Cars196, BN-Inception 1024",
                config="normsoftmax_cars.py",
                options=_bn_inception_1024,
                paper=[87.9, 93.2, 96.2, 98.1],
            ),
            dict(
                name="Cars196, 128", config="normsoftmax_cars.py", options={_dim: 128}, paper=[81.6, 88.7, 93.4, 96.3]
            ),
            dict(name="Cars196, 512", config="normsoftmax_cars.py", paper=[84.2, 90.4, 94.4, 96.9]),
            dict(name="Cars196, 2048", config="normsoftmax_cars_2048.py", paper=[89.3, 94.1, 96.4, 98.0]),
            dict(
                name="Cars196, 2048 bits",
                config="normsoftmax_cars_2048.py",
                prefix="binary/",
                paper=[88.7, 93.7, 96.4, 98.0],
            ),
            dict(
                name="CUB-200-2011, BN-Inception 1024",
                config="normsoftmax_cub.py",
                options=_bn_inception_1024,
                paper=[62.2, 73.9, 82.7, 89.4],
            ),
            dict(
                name="CUB-200-2011, 128",
                config="normsoftmax_cub.py",
                options={_dim: 128},
                paper=[56.5, 69.6, 79.9, 87.6],
            ),
            dict(name="CUB-200-2011, 512", config="normsoftmax_cub.py", paper=[61.3, 73.9, 83.5, 90.0]),
            dict(name="CUB-200-2011, 2048", config="normsoftmax_cub_2048.py", paper=[65.3, 76.7, 85.4, 91.8]),
            dict(
                name="CUB-200-2011, 2048 bits",
                config="normsoftmax_cub_2048.py",
                prefix="binary/",
                paper=[63.3, 75.2, 84.3, 91.0],
            ),
        ],
        reduced=_reduced_sizes,
    ),
    "normsoftmax-figure2": dict(
        title="NormSoftmax by embedding size, as floats and as bits",
        source="Zhai and Wu 2018, Figure 2: ResNet-50 with a linear layer; figures at 128 and 512 from Table 3",
        scores=["recall@1", "binary/recall@1"],
        rows=[
            dict(name="Cars196, 64", config="normsoftmax_cars_2048.py", options={_dim: 64}),
            dict(name="Cars196, 128", config="normsoftmax_cars_2048.py", options={_dim: 128}, paper=[81.6, None]),
            dict(name="Cars196, 256", config="normsoftmax_cars_2048.py", options={_dim: 256}),
            dict(name="Cars196, 512", config="normsoftmax_cars_2048.py", options={_dim: 512}, paper=[84.2, None]),
            dict(name="Cars196, 1024", config="normsoftmax_cars_2048.py", options={_dim: 1024}),
            dict(name="Cars196, 2048", config="normsoftmax_cars_2048.py", options={_dim: 2048}),
            dict(name="CUB-200-2011, 64", config="normsoftmax_cub_2048.py", options={_dim: 64}),
            dict(name="CUB-200-2011, 128", config="normsoftmax_cub_2048.py", options={_dim: 128}, paper=[56.5, None]),
            dict(name="CUB-200-2011, 256", config="normsoftmax_cub_2048.py", options={_dim: 256}),
            dict(name="CUB-200-2011, 512", config="normsoftmax_cub_2048.py", options={_dim: 512}, paper=[61.3, None]),
            dict(name="CUB-200-2011, 1024", config="normsoftmax_cub_2048.py", options={_dim: 1024}),
            dict(name="CUB-200-2011, 2048", config="normsoftmax_cub_2048.py", options={_dim: 2048}),
        ],
        reduced=_reduced_sizes,
    ),
    "normsoftmax-figure3": dict(
        title="NormSoftmax with and without LayerNorm",
        source="Zhai and Wu 2018, Figure 3: ResNet-50, 512 dimensions, CUB-200-2011; figure with it from Table 3",
        config="normsoftmax_cub.py",
        scores=["recall@1"],
        rows=[
            dict(name="with LayerNorm", paper=[61.3]),
            dict(name="without", options={"model.head.layer_norm": False}),
        ],
        reduced=dict(config=_normsoftmax),
    ),
    "normsoftmax-figure4": dict(
        title="NormSoftmax by the ratio of classes that a step sees",
        source="Zhai and Wu 2018, Figure 4 and section 6.5: ResNet-50, 2048 dimensions, SOP",
        config="normsoftmax_sop_2048.py",
        scores=["recall@1"],
        rows=[
            dict(name="all classes", paper=[79.5]),
            dict(
                name="10%",
                options={"model.loss.class_ratio": 0.1},
                note="the paper: less than 1 point below all classes",
            ),
            dict(name="1%", options={"model.loss.class_ratio": 0.01}, paper=[75.7]),
            dict(name="0.1%", options={"model.loss.class_ratio": 0.001}, paper=[72.0]),
        ],
        reduced=dict(
            config=_normsoftmax,
            rows=[
                dict(name="all classes"),
                dict(name="50%", options={"model.loss.class_ratio": 0.5}),
                dict(name="20%", options={"model.loss.class_ratio": 0.2}),
                dict(name="10%", options={"model.loss.class_ratio": 0.1}),
            ],
        ),
    ),
    "pddm-table1": dict(
        title="PDDM and what it was compared with, on CUB-200-2011 and Cars196",
        source="Huang et al. 2016, Table 1: GoogLeNet, 128 dimensions",
        scores=_cub_32,
        rows=[
            dict(
                name="CUB-200-2011, contrastive",
                config="contrastive_cub.py",
                options={_dim: 128},
                paper=[26.4, 37.7, 49.8, 62.3, 76.4, 85.3],
            ),
            dict(
                name="CUB-200-2011, triplet",
                config="triplet_cub.py",
                options={_dim: 128},
                paper=[36.1, 48.6, 59.3, 70.0, 80.2, 88.4],
            ),
            dict(
                name="CUB-200-2011, lifted",
                config="lifted_cub.py",
                options={_dim: 128},
                paper=[47.2, 58.9, 70.2, 80.2, 89.3, 93.2],
            ),
            dict(
                name="CUB-200-2011, LMDM score",
                config="pddm_cub.py",
                options={"model.similarity.type": "LMDM"},
                paper=[49.5, 61.1, 72.1, 81.8, 90.5, 94.1],
            ),
            dict(name="CUB-200-2011, PDDM score", config="pddm_cub.py", paper=[55.0, 67.1, 77.4, 86.9, 92.2, 95.0]),
            dict(
                name="CUB-200-2011, PDDM+Triplet",
                config="pddm_cub.py",
                options={"model.miner.type": "HardPairTripletMiner"},
                prefix="euclidean/",
                paper=[50.9, 62.1, 73.2, 82.5, 91.1, 94.4],
            ),
            dict(
                name="CUB-200-2011, PDDM+Quadruplet",
                config="pddm_cub.py",
                prefix="euclidean/",
                paper=[58.3, 69.2, 79.0, 88.4, 93.1, 95.7],
            ),
            dict(
                name="Cars196, contrastive",
                config="contrastive_cars.py",
                options={_dim: 128},
                paper=[21.7, 32.3, 46.1, 58.9, 72.2, 83.4],
            ),
            dict(
                name="Cars196, triplet",
                config="triplet_cars.py",
                options={_dim: 128},
                paper=[39.1, 50.4, 63.3, 74.5, 84.1, 89.8],
            ),
            dict(
                name="Cars196, lifted",
                config="lifted_cars.py",
                options={_dim: 128},
                paper=[49.0, 60.3, 72.1, 81.5, 89.2, 92.8],
            ),
            dict(
                name="Cars196, LMDM score",
                config="pddm_cars.py",
                options={"model.similarity.type": "LMDM"},
                paper=[50.9, 61.9, 73.5, 82.5, 89.8, 93.1],
            ),
            dict(name="Cars196, PDDM score", config="pddm_cars.py", paper=[55.2, 66.5, 78.0, 88.2, 91.5, 94.3]),
            dict(
                name="Cars196, PDDM+Triplet",
                config="pddm_cars.py",
                options={"model.miner.type": "HardPairTripletMiner"},
                prefix="euclidean/",
                paper=[46.4, 58.2, 70.3, 80.1, 88.6, 92.6],
            ),
            dict(
                name="Cars196, PDDM+Quadruplet",
                config="pddm_cars.py",
                prefix="euclidean/",
                paper=[57.4, 68.6, 80.1, 89.4, 92.3, 94.9],
            ),
        ],
        reduced=dict(
            scores=["recall@1", "map@r"],
            rows=[
                dict(name="contrastive", config=_contrastive),
                dict(name="triplet", config=_triplet),
                dict(name="lifted", config=_lifted),
                dict(name="LMDM score", config=_pddm, options={"model.similarity.type": "LMDM"}),
                dict(name="PDDM score", config=_pddm),
                dict(
                    name="PDDM+Triplet",
                    config=_pddm,
                    options={"model.miner.type": "HardPairTripletMiner"},
                    prefix="euclidean/",
                ),
                dict(name="PDDM+Quadruplet", config=_pddm, prefix="euclidean/"),
            ],
        ),
    ),
    "pddm-figure4": dict(
        title="PDDM with quadruplets mined by its score or by distance",
        source="Huang et al. 2016, Figure 4; figures by score from Table 1",
        scores=["euclidean/recall@1"],
        rows=[
            dict(name="CUB-200-2011, by score", config="pddm_cub.py", paper=[58.3]),
            dict(name="CUB-200-2011, by distance", config="pddm_cub.py", options={"model.miner.by": "euclidean"}),
            dict(name="Cars196, by score", config="pddm_cars.py", paper=[57.4]),
            dict(name="Cars196, by distance", config="pddm_cars.py", options={"model.miner.by": "euclidean"}),
        ],
        reduced=dict(
            config=_pddm,
            scores=_by_score_and_distance,
            rows=[dict(name="by score"), dict(name="by distance", options={"model.miner.by": "euclidean"})],
        ),
    ),
    "pddm-em-alone": dict(
        title="PDDM with E_m alone",
        source="Huang et al. 2016, section 4, discussion; figures of the whole loss from Table 1",
        scores=["recall@1", "euclidean/recall@1"],
        rows=[
            dict(name="CUB-200-2011, E_m + E_e / 2", config="pddm_cub.py", paper=[55.0, 58.3]),
            dict(
                name="CUB-200-2011, E_m alone",
                config="pddm_cub.py",
                options={"model.loss.embedding_weight": 0.0},
                note=_em_alone,
            ),
            dict(name="Cars196, E_m + E_e / 2", config="pddm_cars.py", paper=[55.2, 57.4]),
            dict(
                name="Cars196, E_m alone",
                config="pddm_cars.py",
                options={"model.loss.embedding_weight": 0.0},
                note=_em_alone,
            ),
        ],
        reduced=dict(
            config=_pddm,
            scores=_by_score_and_distance,
            rows=[dict(name="E_m + E_e / 2"), dict(name="E_m alone", options={"model.loss.embedding_weight": 0.0})],
        ),
    ),
    "pddm-batch-size": dict(
        title="PDDM by batch size m",
        source="Huang et al. 2016, section 4, discussion: CUB-200-2011, PDDM+Quadruplet; m = 64 from Table 1",
        config="pddm_cub.py",
        scores=["euclidean/recall@1"],
        rows=[
            dict(name="m = 16", options={_classes: 4}, note="the paper: worse than m = 32"),
            dict(name="m = 32", options={_classes: 8}, paper=[55.7]),
            dict(name="m = 64", paper=[58.3]),
            dict(
                name="m = 132",
                options={_classes: 33},
                note="the paper: a marginal gain, with many more than 400 epochs",
            ),
        ],
        reduced=dict(config=_pddm, rows=_batches),
    ),
    "lifted-table1": dict(
        title="Lifted structured embedding on CUB-200-2011 by batch size m",
        source="Song et al. 2016 (arXiv), Table 1: GoogLeNet, 20,000 steps",
        note=_lifted_batches,
        config="lifted_cub.py",
        scores=["affinity/f1", "affinity/nmi", "recall@1"],
        rows=[
            dict(name="m = 32", options={_classes: 8, "train_cfg.max_epochs": 109}, paper=[18.4, 53.2, 42.4]),
            dict(name="m = 48", options={_classes: 12, "train_cfg.max_epochs": 164}, paper=[19.1, 53.8, 42.1]),
            dict(name="m = 64", options={_classes: 16, "train_cfg.max_epochs": 220}, paper=[19.9, 53.8, 42.4]),
            dict(name="m = 128", paper=[19.7, 54.1, 42.8]),
        ],
        reduced=dict(config=_lifted, rows=_batches),
    ),
    "lifted-table2": dict(
        title="Lifted structured embedding on Cars196 by batch size m",
        source="Song et al. 2016 (arXiv), Table 2: GoogLeNet, 20,000 steps",
        note=_lifted_batches,
        config="lifted_cars.py",
        scores=["affinity/f1", "affinity/nmi", "recall@1"],
        rows=[
            dict(name="m = 32", options={_classes: 8, "train_cfg.max_epochs": 80}, paper=[20.5, 55.6, 46.9]),
            dict(name="m = 48", options={_classes: 12, "train_cfg.max_epochs": 120}, paper=[21.2, 55.9, 49.4]),
            dict(name="m = 64", options={_classes: 16, "train_cfg.max_epochs": 160}, paper=[22.7, 56.6, 50.3]),
            dict(name="m = 128", paper=[22.8, 56.7, 49.5]),
        ],
        reduced=dict(config=_lifted, rows=_batches),
    ),
    "lifted-figure6": dict(
        title="Contrastive, triplet and lifted loss on CUB-200-2011 by embedding size",
        source="Song et al. 2016, Figure 6: GoogLeNet; the figures as Zhai and Wu 2018, Table 1, quotes them",
        scores=[*_cub, "nmi"],
        rows=[
            dict(name="contrastive, 64", config="contrastive_cub.py"),
            dict(
                name="contrastive, 128",
                config="contrastive_cub.py",
                options={_dim: 128},
                paper=[26.4, 37.7, 49.8, 62.3, None],
            ),
            dict(name="contrastive, 256", config="contrastive_cub.py", options={_dim: 256}),
            dict(name="contrastive, 512", config="contrastive_cub.py", options={_dim: 512}),
            dict(name="triplet, 64", config="triplet_cub.py"),
            dict(name="triplet, 128", config="triplet_cub.py", options={_dim: 128}),
            dict(name="triplet, 256", config="triplet_cub.py", options={_dim: 256}),
            dict(name="triplet, 512", config="triplet_cub.py", options={_dim: 512}),
            dict(name="lifted, 64", config="lifted_cub.py"),
            dict(name="lifted, 128", config="lifted_cub.py", options={_dim: 128}, paper=[47.2, 58.9, 70.2, 80.2, 55.6]),
            dict(name="lifted, 256", config="lifted_cub.py", options={_dim: 256}),
            dict(name="lifted, 512", config="lifted_cub.py", options={_dim: 512}),
        ],
        reduced=dict(rows=_losses),
    ),
    "lifted-figure7": dict(
        title="Contrastive, triplet and lifted loss on Cars196 by embedding size",
        source="Song et al. 2016, Figure 7: GoogLeNet; the figures as Zhai and Wu 2018, Table 1, quotes them",
        scores=[*_cub, "nmi"],
        rows=[
            dict(name="contrastive, 64", config="contrastive_cars.py"),
            dict(
                name="contrastive, 128",
                config="contrastive_cars.py",
                options={_dim: 128},
                paper=[21.7, 32.3, 46.1, 58.9, None],
            ),
            dict(name="contrastive, 256", config="contrastive_cars.py", options={_dim: 256}),
            dict(name="contrastive, 512", config="contrastive_cars.py", options={_dim: 512}),
            dict(name="triplet, 64", config="triplet_cars.py"),
            dict(name="triplet, 128", config="triplet_cars.py", options={_dim: 128}),
            dict(name="triplet, 256", config="triplet_cars.py", options={_dim: 256}),
            dict(name="triplet, 512", config="triplet_cars.py", options={_dim: 512}),
            dict(name="lifted, 64", config="lifted_cars.py"),
            dict(
                name="lifted, 128", config="lifted_cars.py", options={_dim: 128}, paper=[49.0, 60.3, 72.1, 81.5, 55.0]
            ),
            dict(name="lifted, 256", config="lifted_cars.py", options={_dim: 256}),
            dict(name="lifted, 512", config="lifted_cars.py", options={_dim: 512}),
        ],
        reduced=dict(rows=_losses),
    ),
    "lifted-figure12": dict(
        title="Contrastive, triplet and lifted loss on Stanford Online Products by embedding size",
        source="Song et al. 2016, Figure 12: GoogLeNet; the figures as Zhai and Wu 2018, Table 1, quotes them",
        scores=[*_sop, "nmi"],
        rows=[
            dict(name="contrastive, 64", config="contrastive_sop.py"),
            dict(
                name="contrastive, 128",
                config="contrastive_sop.py",
                options={_dim: 128},
                paper=[42.0, 58.2, 73.8, 89.1, None],
            ),
            dict(name="contrastive, 256", config="contrastive_sop.py", options={_dim: 256}),
            dict(name="contrastive, 512", config="contrastive_sop.py", options={_dim: 512}),
            dict(name="triplet, 64", config="triplet_sop.py"),
            dict(name="triplet, 128", config="triplet_sop.py", options={_dim: 128}),
            dict(name="triplet, 256", config="triplet_sop.py", options={_dim: 256}),
            dict(name="triplet, 512", config="triplet_sop.py", options={_dim: 512}),
            dict(name="lifted, 64", config="lifted_sop.py"),
            dict(name="lifted, 128", config="lifted_sop.py", options={_dim: 128}),
            dict(name="lifted, 256", config="lifted_sop.py", options={_dim: 256}),
            dict(name="lifted, 512", config="lifted_sop.py", options={_dim: 512}, paper=[62.1, 79.8, 91.3, 97.4, None]),
        ],
        reduced=dict(rows=_losses),
    ),
}
