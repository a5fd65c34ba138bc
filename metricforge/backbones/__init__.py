"""Networks from normalised images to pooled features."""

from metricforge.backbones.glyph_net import GlyphNet
from metricforge.backbones.raw_pixels import RawPixels
from metricforge.backbones.timm_backbone import TimmBackbone
from metricforge.backbones.torchvision_backbone import TorchvisionBackbone

__all__ = ["GlyphNet", "RawPixels", "TimmBackbone", "TorchvisionBackbone"]
