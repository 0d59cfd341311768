# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Features of regions, each from the level of a pyramid that suits it."""

from mmcv.ops import RoIAlign
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor, nn

from .operators import roi_align_by_level
from .supported import require, require_class


class RegionFeatures(nn.Module):
    """A ``SingleRoIExtractor`` (Lin et al., 2017) of batches.

    Args:
        extractor: Of a RoI head.

    Raises:
        ValueError: If the extractor or its pooling is of another kind.
    """

    def __init__(self, extractor: SingleRoIExtractor) -> None:
        super().__init__()
        require_class(extractor, (SingleRoIExtractor,), 'roi_extractor')
        layer = extractor.roi_layers[0]
        require_class(layer, (RoIAlign,), 'roi_layer')
        require(
            layer.aligned and layer.pool_mode == 'avg',
            f'{layer} (the graph has aligned=True and pool_mode=avg)',
        )
        height, width = layer.output_size
        require(height == width, f'regions of {height} x {width} bins')
        self.output_size = height
        self.sampling_ratio = layer.sampling_ratio
        self.strides = [float(each) for each in extractor.featmap_strides]
        self.finest_scale = extractor.finest_scale

    def forward(self, maps: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        """Pool regions.

        Args:
            maps: Of the neck, ``(B, C, H_l, W_l)``, finest first.
            rois: Regions ``(B, K, 4)``, x1, y1, x2, y2 in image pixels.

        Returns:
            ``(B K, C, S, S)``.
        """
        size = rois[..., 2:] - rois[..., :2]
        scale = size.prod(-1).sqrt() / self.finest_scale + 1e-6
        # floor(log2(scale)) within the levels, without a logarithm.
        steps = [(scale >= 2**n).long() for n in range(1, len(self.strides))]
        levels = sum(steps, scale.new_zeros(scale.shape).long())
        return roi_align_by_level(
            list(maps[: len(self.strides)]),
            rois,
            levels,
            self.strides,
            self.output_size,
            self.sampling_ratio,
        ).flatten(0, 1)
