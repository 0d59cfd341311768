# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Tokens that form a map."""

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
