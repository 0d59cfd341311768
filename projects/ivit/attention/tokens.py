# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check tokens and reshape them: to maps, to heads and back."""

from torch import Tensor


def check_tokens(x: Tensor, hw_shape: tuple[int, int], dim: int) -> None:
    """Check that ``x`` is ``(B, H W, dim)``.

    Raises:
        ValueError: If it is not.
    """
    height, width = hw_shape
    if x.shape[1:] != (height * width, dim):
        raise ValueError(
            f'x has shape {tuple(x.shape)}; for hw_shape={hw_shape} and '
            f'dim={dim} it must be (B, {height * width}, {dim}).'
        )


def check_heads(dim: int, num_heads: int) -> None:
    """Check that ``num_heads`` heads share ``dim`` channels evenly.

    Raises:
        ValueError: If they do not.
    """
    if num_heads < 1 or dim % num_heads:
        raise ValueError(
            f'num_heads={num_heads} does not divide dim={dim}; choose a '
            'number of heads that does.'
        )


def to_maps(x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    """View tokens ``(B, N, C)`` as maps ``(B, C, H, W)``, channels last.

    The strides are those of a channels-last tensor also for one image.
    ``x.transpose(1, 2).unflatten(2, hw_shape)`` gives the batch another
    stride, which sends convolutions to kernels for channels first.
    """
    return x.unflatten(1, hw_shape).permute(0, 3, 1, 2)


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """View tokens ``(B, N, C)`` as heads ``(B, h, N, d)``."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Heads ``(B, h, N, d)`` as tokens ``(B, N, C)``."""
    return x.transpose(1, 2).flatten(2)
