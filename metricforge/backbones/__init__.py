"""Networks from normalised images to pooled features."""

from metricforge.backbones.bn_inception import BNInception
from metricforge.backbones.glyph_net import GlyphNet
from metricforge.backbones.identity_backbone import IdentityBackbone
from metricforge.backbones.raw_pixels import RawPixels
from metricforge.backbones.timm_backbone import TimmBackbone
from metricforge.backbones.torchvision_backbone import TorchvisionBackbone

__all__ = ["BNInception", "GlyphNet", "IdentityBackbone", "RawPixels", "TimmBackbone", "TorchvisionBackbone"]
