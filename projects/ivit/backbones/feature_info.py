# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a neck has to know about the maps of a backbone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FeatureInfo:
    """Channels and strides of the maps that a backbone returns.

    The two questions are those that timm's backbones answer, by the same
    names, for the maps in ``out_indices`` and in their order.

    Args:
        maps: Channels and stride of each map.
    """

    maps: tuple[tuple[int, int], ...]

    def channels(self) -> list[int]:
        """Channels of each map."""
        return [channels for channels, _ in self.maps]

    def reduction(self) -> list[int]:
        """Stride s of each map: ceil(H / s) x ceil(W / s) cells."""
        return [stride for _, stride in self.maps]
