# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Interactive multi-head self-attention (iMHSA), arXiv 2402.17507.

Symbols as in the paper: N tokens on an H x W grid, h heads of d channels,
L landmarks, Q, K, V the projected tokens, q~ and k~ their landmarks.

Two of its parts have relatives. Mixing heads before and after the softmax is
a residual form of talking-heads attention (arXiv 2003.02436). Landmarks that
are means of tokens are those of Nystroemformer (arXiv 2102.03902).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .chunks import chunks, runs_in_chunks
from .layers import PointwiseLinear
from .resample import pooling_weights, resample
from .softmax import softmax_attention
from .symbolic import same_size, smaller
from .tokens import check_heads, check_tokens, merge_heads, to_maps

# With fewer queries in a chunk, matrix products are slow.
MIN_QUERIES = 32
INTERACTIONS = ('both', 'pre', 'post', None)


def mix_heads(scores: Tensor, mixer: nn.Linear | None) -> Tensor:
    """Exchange information between heads: ``S + W S (+ b)``.

    Args:
        scores: S, ``(B, h, M, N)``, one matrix per head.
        mixer: W and b, a linear map over the heads; None returns ``scores``
            as they are.

    Returns:
        ``(B, h, M, N)``.
    """
    if mixer is None:
        return scores
    if torch.compiler.is_compiling():
        return _mix_in_graph(scores, mixer)
    flat = scores.flatten(2)  # (B, h, M N)
    # One product that also adds: matmul is slower with a matrix as flat as W.
    weight = mixer.weight.expand(len(flat), -1, -1)
    mixed = torch.baddbmm(flat, weight, flat)
    if mixer.bias is not None:
        mixed = mixed + mixer.bias[:, None]
    return mixed.view_as(scores)


def _mix_in_graph(scores: Tensor, mixer: nn.Linear) -> Tensor:
    """The same as one product, which needs no copy of W for each image."""
    identity = torch.eye(*mixer.weight.shape, device=scores.device)
    weight = (mixer.weight + identity).to(scores.dtype)
    mixed = weight @ scores.flatten(2)
    if mixer.bias is not None:
        mixed = mixed + mixer.bias[:, None].to(scores.dtype)
    return mixed.view_as(scores)


def interactive_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mix_logits: nn.Linear | None = None,
    mix_weights: nn.Linear | None = None,
) -> Tensor:
    """Softmax attention with head interaction on either side of the softmax.

    ``mix'(softmax(mix(Q K^T / sqrt(d)))) V``. Queries do not depend on one
    another. Where no gradient is wanted, a CPU takes them in chunks, and the
    attention matrix is never whole.

    Args:
        query: Q, ``(B, h, M, d)``.
        key: K, ``(B, h, N, d)``.
        value: V, ``(B, h, N, d)``.
        mix_logits: Head mixer before the softmax.
        mix_weights: Head mixer after the softmax.

    Returns:
        ``(B, h, M, d)``.
    """
    if mix_logits is None and mix_weights is None:
        return softmax_attention(query, key, value)
    if torch.is_grad_enabled() or not runs_in_chunks(query):
        return _mixed_attention(query, key, value, mix_logits, mix_weights)
    batch, heads, queries, head_dim = query.shape
    # Memory of (B, M, h, d), so that merging the heads copies nothing.
    out = value.new_empty(batch, queries, heads, head_dim).transpose(1, 2)
    width = heads * key.shape[2]
    for b, m in chunks(batch, queries, width, MIN_QUERIES):
        out[b, :, m] = _mixed_attention(
            query[b, :, m], key[b], value[b], mix_logits, mix_weights
        )
    return out


def _mixed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mix_logits: nn.Linear | None,
    mix_weights: nn.Linear | None,
) -> Tensor:
    # Scaling Q touches d numbers of a token; scaling the logits, M or N.
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    weights = mix_heads(logits, mix_logits).softmax(dim=-1)
    # Under autocast the softmax returns float32; products take V's dtype.
    return mix_heads(weights.to(logits.dtype), mix_weights) @ value


def decomposed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_landmarks: Tensor,
    key_landmarks: Tensor,
    mix_q_logits: nn.Linear | None = None,
    mix_q_weights: nn.Linear | None = None,
    mix_k_logits: nn.Linear | None = None,
    mix_k_weights: nn.Linear | None = None,
) -> Tensor:
    """Attention as a product of two small matrices, in reverse order.

    ``A_Q = softmax(Q k~^T)``, ``A_K = softmax(q~ K^T)`` (paper, Eq. 6), and
    the result is ``A_Q (A_K V)``, so nothing of size N x N is ever formed:
    time is O(N L h (d + h)) and memory O(N L h).

    Args:
        query: Q, ``(B, h, N, d)``.
        key: K, ``(B, h, N, d)``.
        value: V, ``(B, h, N, d)``.
        query_landmarks: q~, ``(B, h, L, d)``.
        key_landmarks: k~, ``(B, h, L, d)``.
        mix_q_logits: Head mixer on the logits of ``A_Q``.
        mix_q_weights: Head mixer on ``A_Q``.
        mix_k_logits: Head mixer on the logits of ``A_K``.
        mix_k_weights: Head mixer on ``A_K``.

    Returns:
        ``(B, h, N, d)``.
    """
    # A_K V first: its matrix is freed before A_Q's is made.
    summary = interactive_attention(
        query_landmarks, key, value, mix_k_logits, mix_k_weights
    )
    return interactive_attention(
        query, key_landmarks, summary, mix_q_logits, mix_q_weights
    )


class InteractiveAttention(nn.Module):
    """Interactive multi-head self-attention (iMHSA).

    ``decomposed`` and ``interaction`` span the four variants of the paper's
    Fig. 2: ``(False, None)`` is MHSA, ``(True, None)`` decomposition only,
    ``(False, 'both')`` interaction only and ``(True, 'both')`` iMHSA.

    The form of the interaction (a residual linear map before and one after
    the softmax) and the landmark grid are choices of this project: the paper
    was not available in full. See docs/ivit.md.

    Args:
        dim: Channels C of the tokens.
        num_heads: Number of heads h; divides ``dim``.
        landmarks: Rows and columns of the landmark grid. A map smaller than
            the grid on a side is used whole on that side.
        decomposed: Whether attention is decomposed (linear in N).
        interaction: Where heads interact: ``'pre'`` the softmax, ``'post'``
            it, ``'both'``, or None.
        qkv_bias: Whether the projection to Q, K and V has a bias.

    Raises:
        ValueError: If ``num_heads`` does not divide ``dim``, a landmark count
            is below 1, or ``interaction`` is unknown.
    """

    # Of these, an instance has those of its form: four decomposed, or two.
    mix_q_logits: nn.Linear | None
    mix_q_weights: nn.Linear | None
    mix_k_logits: nn.Linear | None
    mix_k_weights: nn.Linear | None
    mix_logits: nn.Linear | None
    mix_weights: nn.Linear | None

    def __init__(
        self,
        dim: int,
        num_heads: int,
        landmarks: tuple[int, int] = (7, 7),
        decomposed: bool = True,
        interaction: str | None = 'both',
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        if not (
            isinstance(landmarks, Sequence)
            and len(landmarks) == 2
            and all(isinstance(n, int) and n >= 1 for n in landmarks)
        ):
            raise ValueError(
                f'landmarks={landmarks!r} must be two integers of at least 1, '
                'the rows and columns of the landmark grid.'
            )
        if interaction not in INTERACTIONS:
            raise ValueError(
                f'interaction={interaction!r} is unknown; choose one of '
                f'{INTERACTIONS}.'
            )
        self.dim = dim
        self.num_heads = num_heads
        self.landmarks = tuple(landmarks)
        self.decomposed = decomposed
        self.interaction = interaction
        self.qkv = PointwiseLinear(dim, 3 * dim, bias=qkv_bias)
        self.proj = PointwiseLinear(dim, dim)

        matrices = ('mix_q', 'mix_k') if decomposed else ('mix',)
        for matrix in matrices:
            # A bias before the softmax is one constant per head, which the
            # softmax cancels: it would never get a gradient.
            self._add_mixer(f'{matrix}_logits', ('pre', 'both'), bias=False)
            self._add_mixer(f'{matrix}_weights', ('post', 'both'), bias=True)

    def _add_mixer(
        self, name: str, wanted_by: tuple[str, str], bias: bool
    ) -> None:
        heads = self.num_heads
        wanted = self.interaction in wanted_by
        mixer = nn.Linear(heads, heads, bias=bias) if wanted else None
        self.register_module(name, mixer)

    def _split_heads(self, tokens: Tensor, parts: int) -> tuple[Tensor, ...]:
        """``(B, N, parts C)`` to ``parts`` tensors ``(B, h, N, d)``."""
        split = tokens.unflatten(-1, (parts, self.num_heads, -1))
        return split.permute(2, 0, 3, 1, 4).unbind(0)

    def _landmarks(
        self, x: Tensor, hw_shape: tuple[int, int], grid: tuple[int, int]
    ) -> tuple[Tensor, ...]:
        """Mean-pooled Q and K on the landmark grid, ``(B, h, L, d)`` each.

        Pooling is a mean and the projection is affine, so the pooled tokens
        are projected: the same numbers as pooling Q and K, without touching
        the N projected tokens again.
        """
        if torch.compiler.is_compiling():
            weights = (
                pooling_weights(size, bins, x.device)
                for size, bins in zip(hw_shape, grid, strict=True)
            )
            maps = x.unflatten(1, hw_shape)  # (B, H, W, C)
            pooled = resample(maps, *weights).flatten(1, 2)
        else:
            maps = to_maps(x, hw_shape)
            pooled = F.adaptive_avg_pool2d(maps, grid)
            pooled = pooled.flatten(2).transpose(1, 2)
        return self._split_heads(self.qkv(pooled), 3)[:2]

    def forward(self, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
        """Attend over all tokens of a map.

        Args:
            x: Tokens ``(B, N, C)``, row-major over the map.
            hw_shape: Height and width of the map, N = H W.

        Returns:
            ``(B, N, C)``.

        Raises:
            ValueError: If N is not H W or C is not ``dim``.
        """
        check_tokens(x, hw_shape, self.dim)
        query, key, value = self._split_heads(self.qkv(x), 3)
        if self.decomposed:
            rows, columns = map(smaller, self.landmarks, hw_shape)
            grid = (rows, columns)
            # On a map no larger than the grid, tokens are their landmarks.
            query_landmarks, key_landmarks = (
                (query, key)
                if same_size(grid, hw_shape)
                else self._landmarks(x, hw_shape, grid)
            )
            out = decomposed_attention(
                query,
                key,
                value,
                query_landmarks,
                key_landmarks,
                self.mix_q_logits,
                self.mix_q_weights,
                self.mix_k_logits,
                self.mix_k_weights,
            )
        else:
            out = interactive_attention(
                query, key, value, self.mix_logits, self.mix_weights
            )
        return self.proj(merge_heads(out))
