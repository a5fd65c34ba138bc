"""``configs/tables.yaml`` says what the papers say, and every row of it can be trained."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config

from metricforge.absent_types import FIRST_PARTY_TYPES
from metricforge.config import complete_config, override_config, read_config
from metricforge.config_check import check_config
from metricforge.errors import ConfigError
from metricforge.plugins import load_plugins
from metricforge.registry import DATASETS, KINDS
from metricforge.reproduction import RowRun, read_tables

CONFIGS = Path(__file__).parents[2] / "configs"
TABLES = CONFIGS / "tables.yaml"
FORMS = {None: read_tables(TABLES), "glyphs": read_tables(TABLES, "glyphs"), "photos": read_tables(TABLES, "photos")}
ROWS = [
    pytest.param(row, id=f"{name}-{form}-{row.name}")
    for form, tables in FORMS.items()
    for name, table in tables.items()
    for row in table.rows
    if row.config is not None
]


@cache
def as_written(file: Path) -> Config:
    """Reading each file once keeps hundreds of rows quick."""
    return read_config(file)


def config_of(row) -> Config:
    config = deepcopy(as_written(row.config))
    override_config(config, dict(row.options))
    return config


def installed(config) -> bool:
    """Whether the plug-ins are there, and the data sets are."""
    load_plugins()
    known = {name for kind in KINDS.values() for name in kind.names()}
    text = repr(config.to_dict())
    if "'pml." in text and not any(name.startswith("pml.") for name in known):
        return False
    return not any(f"'{name}'" in text and name not in known for name in FIRST_PARTY_TYPES)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_a_config_without_fault(row):
    config = config_of(row)
    complete_config(config)
    if not installed(config) or config.train_dataloader.dataset.type not in DATASETS.names():
        pytest.skip("needs a plug-in or a data set that is not installed")
    assert check_config(config) == []


@pytest.mark.parametrize("row", [pytest.param(r, id=f"{n}-{r.name}") for n, t in FORMS[None].items() for r in t.rows])
def test_every_score_of_a_row_is_one_that_its_config_s_evaluators_give(row):
    if row.config is None:
        assert row.note
        return
    given = set()
    config = as_written(row.config)
    for evaluator in [*config.evaluators, *config.get("final_evaluators", [])]:
        prefix = f"{evaluator.name}/" if evaluator.type in ("ScoresBySimilarity", "ScoresByClustering") else ""
        for part in evaluator.get("evaluators", [evaluator]):
            name = {"NearestClassMean": "ncm", "ZeroShot": "zero_shot"}.get(part.type, "recall")
            given |= {f"{prefix}{name}@{k}" for k in part.get("ks", [])} | {
                prefix + {"PairF1": "f1"}.get(part.type, part.type.lower())
            }
    assert {row.prefix + score for score in row.scores} <= given


def test_figures_are_per_cent_and_fall_nowhere_as_k_grows():
    compared = 0
    for table in FORMS[None].values():
        for row in table.rows:
            recalls = [
                p for p, s in zip(row.paper, row.scores, strict=True) if p is not None and s.startswith("recall")
            ]
            assert recalls == sorted(recalls), (table.name, row.name)
            assert all(10 < figure < 100 for figure in recalls)
            compared += len(recalls)
    assert compared > 200


def test_rows_of_one_run_are_the_same_config_and_other_rows_have_another_folder(tmp_path):
    seen: dict[Path, str] = {}
    for param in ROWS:
        row = param.values[0]
        if row.config.stem not in ("normsoftmax_cub", "normsoftmax_cub_2048", "normsoftmax_folder"):
            continue  # the others have fewer options of the same kinds
        if not installed(as_written(row.config)):
            pytest.skip("needs a plug-in that is not installed")
        run = RowRun(row.config, row.options, tmp_path)
        content = repr(sorted((key, value) for key, value in run.cfg.to_dict().items() if not key.startswith("_")))
        assert seen.setdefault(run.folder, content) == content
    assert len(set(seen.values())) == len(seen) > 20


def test_the_reduced_form_on_a_folder_trains_on_that_folder():
    for table in FORMS["photos"].values():
        for row in table.rows:
            assert row.options["data_root"] == "photos"
            assert row.config.stem.endswith("_folder")


def test_a_reduced_row_is_scored_as_it_says_and_the_papers_own_rows_as_the_reduced_form_says():
    table1 = {row.name: row.prefix for row in FORMS["glyphs"]["pddm-table1"].rows}
    assert table1["PDDM score"] == ""
    assert table1["PDDM+Quadruplet"] == table1["PDDM+Triplet"] == "euclidean/"
    assert {row.scores for row in FORMS["glyphs"]["pddm-em-alone"].rows} == {
        ("recall@1", "map@r", "euclidean/recall@1", "euclidean/map@r")
    }
    assert {row.scores for row in FORMS["glyphs"]["normsoftmax-table5"].rows} == {("recall@1", "map@r", "nmi")}


def test_what_the_paper_says_of_table_5_and_7():
    # hand-copied from Zhai and Wu 2018
    table5 = {row.name: row.paper for row in FORMS[None]["normsoftmax-table5"].rows}
    assert table5["T = 0.05"] == (61.3,)
    assert table5["T = 0.005"] == (19.3,)
    table7 = {row.name: (row.paper, row.prefix) for row in FORMS[None]["normsoftmax-table7"].rows}
    assert table7["CUB-200-2011, 2048 bits"] == ((63.3, 75.2, 84.3, 91.0), "binary/")


def test_every_row_of_the_papers_can_be_run():
    assert [(name, row.name) for name, table in FORMS[None].items() for row in table.rows if row.config is None] == []


def test_the_bn_inception_rows_begin_from_a_file_and_have_the_papers_dimensions():
    # hand-copied from Zhai and Wu 2018; section 6.6: at 1,024 dimensions without a linear layer
    rows = {
        (name[-1], row.name.split(",")[0]): row
        for name, table in FORMS[None].items()
        for row in table.rows
        if row.options.get("model.backbone.type") == "BNInception"
    }
    first = {where: row.paper[0] for where, row in rows.items()}
    assert first == {
        ("2", "SOP"): 73.8,
        ("2", "Cars196"): 81.7,
        ("2", "CUB-200-2011"): 59.6,
        ("6", "SOP"): 74.7,
        ("6", "In-Shop"): 86.6,
        ("7", "Cars196"): 87.9,
        ("7", "CUB-200-2011"): 62.2,
    }
    for (table, _), row in rows.items():
        config = config_of(row)
        assert config.model.backbone == dict(type="BNInception", weights="data/bn_inception-52deb4733.pth")
        assert config.model.head.dim == (512 if table == "2" else None)


def test_a_row_without_a_config_for_a_reduced_form_is_left_out_of_it():
    names = {form: {row.name for row in FORMS[form]["pddm-table2"].rows} for form in ("glyphs", "photos")}
    assert names["glyphs"] == {"transfer learning, untrained", "transfer learning, PDDM"}
    assert names["photos"] - names["glyphs"] == {"zero-shot learning, untrained", "zero-shot learning, PDDM"}


def test_what_the_paper_says_of_pddm_table_2():
    # hand-copied from Huang et al. 2016
    rows = FORMS[None]["pddm-table2"].rows
    assert [(row.scores, row.paper) for row in rows] == [
        (("euclidean/ncm@1",), (28.4,)),
        (("euclidean/zero_shot@5",), (48.2,)),
    ]
    transfer, zero_shot = (config_of(row) for row in rows)
    assert transfer.train_dataloader.dataset.split == "all"
    assert zero_shot.train_dataloader.dataset.train_fraction == zero_shot.test_dataloader.dataset.train_fraction == 0.8
    assert zero_shot.test_dataloader.dataset.split == "zero_shot"


def test_figure_2_is_of_resnet_50_on_cars_and_of_googlenet_on_cub():
    # hand-copied from Zhai and Wu 2018, Tables 1 and 3
    rows = {row.name: row for row in FORMS[None]["normsoftmax-figure2"].rows}
    for name, row in rows.items():
        backbone = config_of(row).model.backbone
        assert backbone.name == ("googlenet" if name.startswith("CUB") else "resnet50")
    first = {name: row.paper[0] for name, row in rows.items() if row.paper[0] is not None}
    assert first == {"Cars196, 128": 81.6, "Cars196, 512": 84.2, "CUB-200-2011, 512": 55.3}


def test_every_network_of_torchvision_begins_from_weights_of_a_name_that_stays():
    configs = {param.values[0].config for param in ROWS}
    backbones = [as_written(config).model.backbone for config in configs]
    weights = {(b.name, b.get("weights"), b.get("pretrained")) for b in backbones if b.type == "TorchvisionBackbone"}
    assert {("resnet50", "IMAGENET1K_V1", None), ("googlenet", "IMAGENET1K_V1", None)} <= weights
    assert {named[1:] for named in weights} == {("IMAGENET1K_V1", None)}


def test_googlenet_trains_all_layers_on_sop_from_the_start_new_ones_at_ten_times_the_rate():
    rows = {row.name: row for row in FORMS[None]["normsoftmax-table1"].rows}
    sop, cub = (config_of(rows[name]) for name in ("SOP", "CUB-200-2011"))
    assert (sop.train_cfg.warmup_epochs, sop.train_cfg.max_epochs) == (0, 30)
    assert sop.param_scheduler[0].milestones == [15]
    keys = sop.optim_wrapper.paramwise_cfg.custom_keys
    assert {name: key.lr_mult for name, key in keys.items()} == {"head": 10, "loss": 10}
    assert (cub.train_cfg.warmup_epochs, cub.train_cfg.max_epochs) == (1, 31)
    assert "learning rates" in FORMS[None]["normsoftmax-table1"].note


def test_the_lifted_paper_s_tables_and_figures_are_cited_from_the_edition_that_has_them():
    lifted = {name: table.source for name, table in FORMS[None].items() if name.startswith("lifted-")}
    for number in (1, 2):
        assert f"CVPR edition), Table {number}" in lifted.pop(f"lifted-table{number}")
    for cvpr, arxiv in ((5, 6), (6, 7), (9, 12)):
        says = lifted.pop(f"lifted-figure{cvpr}")
        assert f"Figure {cvpr} of the CVPR edition, Figure {arxiv} of the arXiv edition" in says
    assert not lifted


def test_only_takes_rows_by_a_word_of_their_name_in_either_case():
    table = FORMS[None]["normsoftmax-table7"]
    assert {row.name.split(",")[0] for row in table.only(["cub"]).rows} == {"CUB-200-2011"}
    with pytest.raises(ConfigError, match='no row of normsoftmax-table7 has that; rows: "Cars196'):
        table.only(["sop"])
