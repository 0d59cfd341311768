# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""torchvision's Mask R-CNN with an iViT: a training step, and a prediction.

    python examples/torchvision_mask_rcnn.py

The images are made up: a bright rectangle on noise. For results, train on
data of your own, and begin with weights: ivit.create(..., pretrained=FILE).
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.ops.feature_pyramid_network import (
    FeaturePyramidNetwork,
    LastLevelMaxPool,
)

import ivit

CLASSES = ('background', 'rectangle')
SIZE = 128  # pixels; the default of MaskRCNN is 800


class WithFPN(nn.Module):
    """A backbone and a feature pyramid, as torchvision's detectors want them.

    Args:
        name: Name of the backbone, for ivit.create.
        pretrained: Its weights, if any.
    """

    out_channels = 64  # of every level; MaskRCNN looks for this attribute

    def __init__(self, name: str, pretrained: str | None = None) -> None:
        super().__init__()
        self.body = ivit.create(name, pretrained=pretrained)
        self.fpn = FeaturePyramidNetwork(
            self.body.feature_info.channels(),
            self.out_channels,
            LastLevelMaxPool(),
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.body(images)
        return self.fpn(OrderedDict(zip('0123', maps, strict=True)))


def make_up(count: int) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Images of several sizes, and what torchvision wants to know of them."""
    images, targets = [], []
    for _ in range(count):
        height, width = torch.randint(SIZE // 2, SIZE, (2,)).tolist()
        image = torch.rand(3, height, width) / 2
        x, y = width // 4, height // 4
        image[:, y : 3 * y, x : 2 * x] += 0.5
        mask = torch.zeros(1, height, width, dtype=torch.uint8)
        mask[:, y : 3 * y, x : 2 * x] = 1
        box = torch.tensor([[x, y, 2 * x, 3 * y]], dtype=torch.float32)
        images.append(image)
        targets.append(dict(boxes=box, labels=torch.tensor([1]), masks=mask))
    return images, targets


def main() -> None:
    torch.manual_seed(0)
    model = MaskRCNN(
        WithFPN('ivit_n'),
        num_classes=len(CLASSES),
        min_size=SIZE,
        max_size=SIZE,
        box_detections_per_img=5,
        box_score_thresh=0.0,  # to see something after one step
    )
    info = model.backbone.body.feature_info
    print(f'channels {info.channels()}, strides {info.reduction()}')

    images, targets = make_up(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    losses = model.train()(images, targets)
    loss = torch.stack(list(losses.values())).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(', '.join(f'{name} {value:.3f}' for name, value in losses.items()))

    with torch.no_grad():
        found = model.eval()(images)
    for image, objects in zip(images, found, strict=True):
        print(
            f'{tuple(image.shape)}: {len(objects["boxes"])} objects, '
            f'masks {tuple(objects["masks"].shape)}'
        )


if __name__ == '__main__':
    main()
