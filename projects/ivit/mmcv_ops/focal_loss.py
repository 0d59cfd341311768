# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focal losses (Lin et al., 2017), in mmcv's calling convention.

Eq. 5 of the paper is FL = -alpha_t (1 - p_t)^gamma log(p_t), where p_t is the
probability of the right answer. As in the compiled operators, the argument of
a logarithm is at least the smallest normal float32. Half precision is computed
in float32.
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
        target: Labels ``(N,)``, int64; one outside of 0..C-1 is background.
        weight: Weights of the classes, ``(C,)``, or an empty tensor for no
            weights. Rows of background have the weight 1.
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
        input: Probabilities ``(N, C)``; mmcv has applied the softmax.
        target: Labels ``(N,)``, int64; a negative label gives no loss.
        weight: Weights of the classes, ``(C,)``, or an empty tensor for no
            weights.
        output: ``(N,)``, written.
        gamma: Focusing exponent.
        alpha: Weight of all rows.
    """
    p, scale = _label_probability(input, target, weight, alpha)
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

    ``buff`` (N,) is working memory of the compiled operator; it is not used.
    """
    p, scale = _label_probability(input, target, weight, alpha)
    q = 1 - p
    # q^(gamma - 1) log(p) goes to 0 with q for every gamma > 0; clamping q
    # avoids inf * 0.
    focus = gamma * q.clamp_min(TINY) ** (gamma - 1) * p
    slope = scale * (focus * p.clamp_min(TINY).log() - q**gamma)
    one_hot = F.one_hot(target.clamp_min(0), input.size(1))
    grad_input.copy_(slope[:, None] * (one_hot - input))


def _signed_logits(
    logits: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What a binary focal loss is made of, all ``(N, C)``.

    Returns:
        Logits z of the right answer, so that p_t = sigmoid(z), the signs
        d z / d logit, and alpha_t times the weight of the row.
    """
    logits = _at_least_float32(logits)
    classes = torch.arange(logits.size(1), device=logits.device)
    positive = target[:, None] == classes
    sign = positive.to(logits.dtype) * 2 - 1
    scale = torch.where(positive, alpha, 1 - alpha).to(logits)
    if weight.numel():
        scale = scale * _weight_of_label(weight, target)[:, None]
    return sign * logits, sign, scale


def _label_probability(
    probs: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Probability of the label, and factor of the loss, both ``(N,)``."""
    probs = _at_least_float32(probs)
    p = probs.gather(1, target.clamp_min(0)[:, None])[:, 0]
    scale = alpha * (target >= 0).to(probs.dtype)
    if weight.numel():
        scale = scale * _weight_of_label(weight, target)
    return p, scale


def _weight_of_label(weight: Tensor, target: Tensor) -> Tensor:
    """Weight of every row's class, ``(N,)``; 1 if the label is no class."""
    known = (target >= 0) & (target < len(weight))
    return F.pad(weight, (0, 1), value=1)[target.where(known, len(weight))]


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
