# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Drawing as the first step of a pipeline, in place of loading a file."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS

from .drawing import (
    SUPERSAMPLING,
    draw_points,
    paint,
    reduce_mask,
    stamp_patches,
)
from .systems import FractalSystem, draw_fluctuated


@TRANSFORMS.register_module()
class DrawFractal(BaseTransform):
    """Draw an instance of a category of :class:`.FractalDataset`.

    The points of an instance are always the same, as in FractalDB, and are
    kept in memory as bits: 2 KiB of a picture of 64 x 64, 25 KiB of one of
    224 x 224. Patches and surfaces are new each time.

    Required keys: ``system``, ``category``, ``fluctuation``, ``draw_seed``.
    Added keys: ``img`` ``(S, S, 3)`` uint8, ``img_shape``, ``ori_shape``.

    Args:
        size: Side S of the picture, in pixels.
        patches: Whether each point is a random patch of 3 x 3 pixels, as in
            FractalDB and OFDB, at twice the resolution of the picture.
        colour_prob: How likely the picture has random colours and some
            noise, instead of grey on black as FractalDB has it.
        texture_prob: How likely, in a picture with colours, the fractal has a
            random texture (after OFDB), and likewise what is behind it,
            instead of a plain colour.
        max_kept: Number of instances whose points are kept in memory.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        size: int = 64,
        patches: bool = True,
        colour_prob: float = 0.5,
        texture_prob: float = 0.5,
        max_kept: int = 50_000,
    ) -> None:
        if size < 1:
            raise ValueError(f'size={size} must be positive')
        for name, value in (
            ('colour_prob', colour_prob),
            ('texture_prob', texture_prob),
        ):
            if not 0 <= value <= 1:
                raise ValueError(f'{name}={value} must be in [0, 1]')
        self.colour_prob = colour_prob
        self.size = size
        self.patches = patches
        self.texture_prob = texture_prob
        self.max_kept = max_kept
        self._kept: dict[tuple[int, int], np.ndarray] = {}

    def transform(self, results: dict) -> dict:
        """Draw it."""
        hits = self._find_hits(
            results['system'], results['category'], results['fluctuation']
        )
        seed = results['draw_seed']
        if seed is None:  # of the training's random numbers
            seed = np.random.randint(0, 2**32, 4, np.uint32)
        rng = np.random.default_rng(seed)
        if self.patches:
            hits = stamp_patches(hits, rng)
        results['img'] = paint(
            reduce_mask(hits), rng, self.colour_prob, self.texture_prob
        )
        results['img_shape'] = results['ori_shape'] = (self.size, self.size)
        return results

    def _find_hits(
        self, system: FractalSystem, category: int, fluctuation: int
    ) -> np.ndarray:
        instance = category, fluctuation
        side = SUPERSAMPLING * self.size
        if instance in self._kept:
            bits = np.unpackbits(self._kept[instance])
            return bits[: side**2].view(bool).reshape(side, side)
        seed = [category, fluctuation]
        hits = draw_fluctuated(
            system, fluctuation, lambda one: draw_points(one, self.size, seed)
        )
        if len(self._kept) < self.max_kept:
            self._kept[instance] = np.packbits(hits)
        return hits
