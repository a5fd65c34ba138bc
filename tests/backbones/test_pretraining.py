"""Where a backbone's first weights come from, as protocols and model cards say it."""

import pytest

from metricforge.backbones.pretraining import pretraining_of


def test_where_the_first_weights_came_from():
    assert pretraining_of(dict(type="GlyphNet"))["source"] is None
    assert (
        pretraining_of(dict(type="TimmBackbone", name="resnet50", weights="/home/me/x.pth"))["source"]
        == "the file x.pth"
    )
    known = pretraining_of(dict(type="TimmBackbone", name="resnet50.a1_in1k", pretrained=True))
    assert known == {"source": "timm's weights resnet50.a1_in1k", "licence": "apache-2.0"}


@pytest.mark.parametrize(
    ("options", "source"),
    [
        (dict(name="resnet50", weights="IMAGENET1K_V1"), "torchvision's weights IMAGENET1K_V1 of resnet50"),
        # what torchvision calls the default now is said by its name
        (dict(name="resnet50", pretrained=True), "torchvision's weights IMAGENET1K_V2 of resnet50"),
        (dict(pretrained=True), "torchvision's weights IMAGENET1K_V1 of googlenet"),
        (dict(name="resnet50", weights="folder/V1.pth", pretrained=True), "the file V1.pth"),
        (dict(name="resnet50"), None),
    ],
)
def test_torchvision_s_weights_are_said_by_name(options, source):
    assert pretraining_of(dict(type="TorchvisionBackbone") | options)["source"] == source
