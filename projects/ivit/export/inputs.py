# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""From images as people have them to what a model computes with."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from ..attention.symbolic import padded_size
from ..engine import UsageError
from ..nested import class_name, innermost_datasets

# The last of them, ClsDataPreprocessor, need not be named in a config.
PREPROCESSORS = (
    'DetDataPreprocessor',
    'SegDataPreProcessor',
    'ImgDataPreprocessor',
    'ClsDataPreprocessor',
    '',
)
SWAPS = ('bgr_to_rgb', 'rgb_to_bgr', 'to_rgb')


class Normalise(nn.Module):
    """What a model's data preprocessor does, inside of a graph.

    Args:
        mean: Subtracted from the channels, or None.
        std: What they are divided by then, or None.
        reverse: Whether the model wants blue first.
        divisor: Height and width are padded to multiples of it, on the right
            and below.
        pad_value: What they are padded with, after the normalisation.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(
        self,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        reverse: bool,
        divisor: int,
        pad_value: float,
    ) -> None:
        super().__init__()
        for name, values in dict(mean=mean, std=std).items():
            buffer = None
            if values is not None:
                buffer = torch.tensor(values).view(-1, 1, 1)
            self.register_buffer(name, buffer)
        self.reverse = reverse
        self.divisor = divisor
        self.pad_value = pad_value

    def forward(self, images: Tensor) -> Tensor:
        """RGB images ``(B, 3, H, W)`` of uint8 to float32, padded."""
        x = images.float()
        if self.reverse:
            x = x.flip(1)
        if self.mean is not None and self.std is not None:
            x = (x - self.mean) / self.std
        if self.divisor > 1:
            height, width = (
                padded_size(size, self.divisor) - size for size in x.shape[2:]
            )
            x = F.pad(x, (0, width, 0, height), value=self.pad_value)
        return x


def read_normalisation(cfg: Config) -> Normalise:
    """Read what the data preprocessor of a config does in a test.

    Args:
        cfg: The config of an experiment, with a model that has a
            ``data_preprocessor`` and a test pipeline that loads the images.

    Raises:
        UsageError: If it is none of those that are known.
    """
    settings = cfg.model.get('data_preprocessor') or {}
    kind = class_name(settings)
    if kind not in PREPROCESSORS:
        raise UsageError(
            f'data_preprocessor={kind} cannot be put into a graph; known are '
            f'{", ".join(filter(None, PREPROCESSORS))}'
        )
    if kind == 'SegDataPreProcessor':
        # mmseg pads as its test_cfg says, and not at all without one.
        padding = settings.get('test_cfg') or {}
        divisor, value = padding.get('size_divisor'), settings.get('pad_val')
        if padding.get('size'):
            raise UsageError(
                f'data_preprocessor.test_cfg.size={padding["size"]} pads '
                'every image to one size; a graph takes any. Use size_divisor'
            )
    else:
        divisor = settings.get('pad_size_divisor')
        value = settings.get('pad_value')
    return Normalise(
        settings.get('mean'),
        settings.get('std'),
        # The graph has red first; pipelines load blue first, as OpenCV does.
        reverse=loads_blue_first(cfg) != any(map(settings.get, SWAPS)),
        divisor=divisor or 1,
        pad_value=value or 0,
    )


def loads_blue_first(cfg: Config) -> bool:
    """Whether the test pipeline gives BGR. Drawn pictures are RGB."""
    dataset = next(innermost_datasets(cfg.test_dataloader.dataset))
    for step in dataset.get('pipeline') or ():
        if class_name(step).startswith('LoadImage'):
            return step.get('channel_order', 'bgr') == 'bgr'
    return False


def to_bytes(images: Tensor) -> Tensor:
    """Pixels as uint8; a pipeline may load them as float32."""
    if images.dtype == torch.uint8:
        return images
    return images.round().clamp(0, 255).byte()
