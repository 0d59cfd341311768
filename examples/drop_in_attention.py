# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""iMHSA in the place of the attention of torchvision's vision transformer.

    python examples/drop_in_attention.py

Softmax attention costs the square of the number of patches. iMHSA compares
the patches with a grid of landmarks instead: its cost grows with their
number. Both are counted, in multiplications and additions.
"""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import VisionTransformer

from ivit.attention import InteractiveAttention

PATCH = 16
DIM, HEADS, DEPTH = 192, 3, 4


class MapAttention(nn.Module):
    """iMHSA that is called as torch's multi-head attention is.

    The patches attend to one another by iMHSA. The class token, which is no
    part of the map, keeps the attention that it had: one query costs in
    proportion to the patches.

    Args:
        attention: The attention that is replaced.
        side: Patches along a side of the image.
    """

    def __init__(self, attention: nn.MultiheadAttention, side: int) -> None:
        super().__init__()
        self.hw_shape = (side, side)
        self.of_token = attention
        self.of_patches = InteractiveAttention(
            attention.embed_dim, attention.num_heads
        )

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, **options: bool
    ) -> tuple[Tensor, None]:
        """Tokens ``(B, 1 + N, C)`` to the same shape."""
        token, _ = self.of_token(query[:, :1], key, value, **options)
        patches = self.of_patches(query[:, 1:], self.hw_shape)
        return torch.cat((token, patches), dim=1), None


def build(size: int, interactive: bool) -> VisionTransformer:
    """A small transformer for images of ``size`` x ``size`` pixels."""
    model = VisionTransformer(
        size, PATCH, DEPTH, HEADS, DIM, mlp_dim=4 * DIM, num_classes=10
    )
    if interactive:
        for block in model.encoder.layers:
            block.self_attention = MapAttention(
                block.self_attention, size // PATCH
            )
    return model


def count(model: nn.Module, size: int) -> int:
    """FLOPs of a forward pass over one image."""
    counter = FlopCounterMode(display=False)
    # torch counts products of matrices, and not its fused attention on CPUs.
    with counter, sdpa_kernel(SDPBackend.MATH):
        model(torch.rand(1, 3, size, size))
    return counter.get_total_flops()


def main() -> None:
    torch.manual_seed(0)
    model = build(224, interactive=True)
    scores = model(torch.rand(2, 3, 224, 224))
    scores.logsumexp(1).sum().backward()
    reached = [p.grad is not None for p in model.parameters()]
    print(f'scores {tuple(scores.shape)}')
    print(f'gradients for {sum(reached)} of {len(reached)} parameters')

    for size in (224, 448, 896):
        softmax, interactive = (
            count(build(size, choice), size) for choice in (False, True)
        )
        print(
            f'{size} x {size}: {softmax / 1e9:.1f} GFLOPs with softmax '
            f'attention, {interactive / 1e9:.1f} with iMHSA'
        )


if __name__ == '__main__':
    main()
