# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Focused attention step by step in float64, without the package."""

import torch
import torch.nn.functional as F

from ivit.attention import FocusedLinearAttention


def reference_map(x, scale, p):
    """f_p(ReLU(x)) with the powers as logarithms, which have the range."""
    t = (x.clamp(min=0) + 1e-6) / scale
    logs = p * t.log()
    norm = torch.logsumexp(2 * logs, -1, keepdim=True) / 2
    return (logs - norm).exp() * t.square().sum(-1, keepdim=True).sqrt()


def reference_attention(query, key, value, scale, heads, p):
    """Every head for itself, with its N x N matrix while that is small."""
    tokens, dim = key.shape[1], value.shape[2]
    query = reference_map(query, scale, p)
    key = reference_map(key, scale, p)
    outs = []
    for head in range(heads):
        part = slice(head * dim // heads, (head + 1) * dim // heads)
        q, k, v = query[..., part], key[..., part], value[..., part]
        if tokens <= 500:
            similar = q @ k.mT
            out = similar @ v / (similar.sum(-1, keepdim=True) + 1e-6 * tokens)
        else:
            mean = k.mean(1, keepdim=True)
            out = q @ (k.mT @ v / tokens) / (q @ mean.mT + 1e-6)
        outs.append(out)
    return torch.cat(outs, -1)


def reference(weights, x, hw_shape, heads, p):
    """The module, from its state dict in float64."""
    dim = x.shape[-1]

    def linear(name, x):
        bias = weights.get(f'{name}.bias', 0)
        return x @ weights[f'{name}.weight'].T + bias

    if 'qkv.weight' in weights:
        query, key, value = linear('qkv', x).split(dim, -1)
    else:
        query = linear('q', x)
        key, value = linear('kv', x).split(dim, -1)
    out = reference_attention(
        query,
        key + weights['positional_encoding'],
        value,
        torch.log1p(weights['scale'].exp()),
        heads,
        p,
    )
    if 'dwc.weight' not in weights:
        return linear('proj', out)
    kernel = weights['dwc.weight'].shape[-1]
    convolved = []
    for part in value.split(dim // heads, -1):
        maps = part.mT.reshape(*part.mT.shape[:2], *hw_shape)
        maps = F.pad(maps, [kernel // 2] * 4)
        # Shifted maps times one number of every channel's kernel.
        total = sum(
            maps[..., i : i + hw_shape[0], j : j + hw_shape[1]]
            * weights['dwc.weight'][:, 0, i, j, None, None]
            for i in range(kernel)
            for j in range(kernel)
        )
        total = total + weights['dwc.bias'][:, None, None]
        convolved.append(total.flatten(2).mT)
    return linear('proj', out + torch.cat(convolved, -1))


def in_double(attn):
    return {k: v.detach().double() for k, v in attn.named_parameters()}


def build(cls=FocusedLinearAttention, dim=24, heads=3, grid=(7, 7), **kwargs):
    torch.manual_seed(0)
    attn = cls(dim, heads, grid, **kwargs)
    for parameter in attn.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return attn


def error(value, expected):
    """The largest difference over the largest number expected."""
    value, largest = value.double(), expected.abs().max()
    if largest == 0:
        return value.abs().max().item()
    return ((value - expected).abs().max() / largest).item()
