"""Families of timm's networks (modules of timm.models) embed images by a small one of each."""

from __future__ import annotations

import pytest
import timm
import torch

from metricforge.backbones import TimmBackbone

SMALL = [
    "test_vit",
    "test_byobnet",
    "beit_base_patch16_224",
    "eca_halonext26ts",
    "caformer_s18",
    "cait_xxs24_224",
    "coat_tiny",
    "test_coatnet",
    "convit_tiny",
    "convmixer_768_32",
    "test_convnext",
    "cpubone_nano",
    "crossvit_tiny_240",
    "cs3darknet_focus_s",
    "csatv2",
    "cspnext_tiny",
    "davit_tiny",
    "deit_tiny_patch16_224",
    "densenet121",
    "dla34",
    "test_nfnet",
    "dpn68",
    "ese_vovnet19b_slim_dw",
    "test_resnet",
    "edgenext_x_small",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "test_efficientnet",
    "efficientvim_m1",
    "efficientvit_b0",
    "efficientvit_m0",
    "eva02_tiny_patch14_224",
    "fasternet_t0",
    "fastvit_t8",
    "mobilenetv3_small_050",
    "focalnet_tiny_srf",
    "gcvit_xxtiny",
    "ghostnet_050",
    "gmlp_ti16_224",
    "hardcorenas_b",
    "hgnetv2_b0",
    "hiera_tiny_224",
    "sam2_hiera_tiny",
    "hrnet_w18_small",
    "iformer_t",
    "inception_next_atto",
    "lcnetv2_small",
    "legacy_seresnet18",
    "legacy_xception",
    "levit_128s",
    "lowformer_b0",
    "test_mambaout",
    "mobilevit_xxs",
    "mvitv2_tiny",
    "nest_tiny",
    "nextvit_small",
    "pit_ti_224",
    "pvt_v2_b0",
    "rdnet_tiny",
    "regnetx_002",
    "repghostnet_050",
    "repvit_m0_9",
    "res2net50_26w_4s",
    "resnest14d",
    "resnetv2_18",
    "rexnet_100",
    "selecsls42",
    "sequencer2d_s",
    "shvit_s1",
    "skresnet18",
    "starnet_s050",
    "swiftformer_xs",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "swinv2_cr_tiny_224",
    "test_vit_relpos",
    "tiny_vit_5m_224",
    "tnt_s_legacy_patch16_224",
    "twins_svt_small",
    "vgg11",
    "visformer_tiny",
    "vit_tiny_r_s16_p8_224",
    "vitamin_small_224",
    "volo_d1_224",
    "xception41",
    "xcit_nano_12_p8_224",
]

SMALLER = {"deepseek_vit": 126, "vision_transformer_sam": 128}  # instead of 546 and 1,024 pixels, which take minutes


def family(name):
    return timm.model_entrypoint(name).__module__.rpartition(".")[2]


def smallest_of_each_family():
    """The small ones above, and of a family that is not among them the one with the shortest name."""
    chosen = {}
    for name in [*filter(timm.is_model, SMALL), *sorted(timm.list_models(), key=len)]:
        chosen.setdefault(family(name), name)
    return chosen


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), smallest_of_each_family().items())
def test_each_family_embeds_two_images(kind, name):
    torch.manual_seed(0)
    backbone = TimmBackbone(name, img_size=SMALLER.get(kind)).eval()
    with torch.inference_mode():
        features = backbone(torch.randn(2, 3, *backbone.input_size))
    assert features.shape == (2, backbone.feature_dim), kind
    assert features.isfinite().all()
