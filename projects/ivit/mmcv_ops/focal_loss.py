# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focal losses (Lin et al., 2017), in mmcv's calling convention.

With p_t the probability of the right answer, Eq. 5 of the paper is
FL = -alpha_t (1 - p_t)^gamma log(p_t). Logarithms stop at the smallest
normal float32, as in the compiled ops. Half precision is computed in float32.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = torch.finfo(torch.float32).tiny


def sigmoid_focal_loss_forward(
    input: Tensor,  # noqa: A002
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Binary focal loss of every class of every row.

    Args:
        input: Logits ``(N, C)``.
        target: ``(N,)``, int64; any label outside 0..C-1 is background.
        weight: Of the row's class, ``(C,)``; empty for none. Background
            rows have the weight 1.
        output: ``(N, C)``, written.
        gamma: Focusing exponent.
        alpha: Weight of positives; negatives have 1 - alpha.
    """
    z, _, scale = _signed_logits(input, target, weight, alpha)
    log_p = z.sigmoid().clamp_min(TINY).log()
    output.copy_(-scale * (-z).sigmoid() ** gamma * log_p)


def sigmoid_focal_loss_backward(
    input: Tensor,  # noqa: A002
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write d loss / d logit to ``grad_input`` (N, C)."""
    z, sign, scale = _signed_logits(input, target, weight, alpha)
    p, q = z.sigmoid(), (-z).sigmoid()
    slope = q**gamma * (gamma * p * p.clamp_min(TINY).log() - q)
    grad_input.copy_(sign * scale * slope)


def softmax_focal_loss_forward(
    input: Tensor,  # noqa: A002
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Focal loss of the labelled class of every row.

    Args:
        input: Probabilities ``(N, C)``: mmcv takes the softmax.
        target: ``(N,)``, int64; rows with a negative label have no loss.
        weight: Of the row's class, ``(C,)``; empty for none.
        output: ``(N,)``, written.
        gamma: Focusing exponent.
        alpha: Weight of all rows.
    """
    p, scale = _labelled(input, target, weight, alpha)
    output.copy_(-scale * (1 - p) ** gamma * p.clamp_min(TINY).log())


def softmax_focal_loss_backward(
    input: Tensor,  # noqa: A002
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write d loss / d logit to ``grad_input`` (N, C).

    ``buff`` (N,) is the compiled op's scratch space, unused here.
    """
    p, scale = _labelled(input, target, weight, alpha)
    q = 1 - p
    # As q -> 0, q^(gamma - 1) log(p) -> 0 for every gamma > 0.
    focus = gamma * q.clamp_min(TINY) ** (gamma - 1) * p
    slope = scale * (focus * p.clamp_min(TINY).log() - q**gamma)
    one_hot = F.one_hot(target.clamp_min(0), input.size(1))
    grad_input.copy_(slope[:, None] * (one_hot - input))


def _signed_logits(
    logits: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of the right answer, their sign and alpha_t, all ``(N, C)``."""
    logits = _at_least_float32(logits)
    classes = torch.arange(logits.size(1), device=logits.device)
    positive = target[:, None] == classes
    sign = positive.to(logits.dtype) * 2 - 1
    scale = torch.where(positive, alpha, 1 - alpha).to(logits)
    if weight.numel():
        scale = scale * _row_weight(weight, target)[:, None]
    return sign * logits, sign, scale


def _labelled(
    probs: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Probability of the label and weight of every row, both ``(N,)``."""
    probs = _at_least_float32(probs)
    p = probs.gather(1, target.clamp_min(0)[:, None])[:, 0]
    scale = alpha * (target >= 0).to(probs.dtype)
    if weight.numel():
        scale = scale * _row_weight(weight, target)
    return p, scale


def _row_weight(weight: Tensor, target: Tensor) -> Tensor:
    known = (target >= 0) & (target < len(weight))
    return F.pad(weight, (0, 1), value=1)[target.where(known, len(weight))]


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
