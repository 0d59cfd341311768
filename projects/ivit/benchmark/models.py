# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The backbones that can be compared, by name or by config."""

from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from .. import engine
from ..backbones.named import named_backbones
from ..frameworks import require
from .naive import make_naive
from .workload import Setting, Workload

# Without stochastic depth, which would leave out work at random.
PEERS = dict(
    resnet50=dict(type='mmdet.ResNet', depth=50),
    convnext_t=dict(
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        out_indices=(0, 1, 2, 3),
        gap_before_final_norm=False,
    ),
    swin_t=dict(
        type='mmdet.SwinTransformer',
        embed_dims=96,
        depths=(2, 2, 6, 2),
        num_heads=(3, 6, 12, 24),
        drop_path_rate=0.0,
    ),
    pvt_t=dict(
        type='mmdet.PyramidVisionTransformer',
        num_layers=[2, 2, 2, 2],
        drop_path_rate=0.0,
    ),
    pvt_v2_b2=dict(
        type='mmdet.PyramidVisionTransformerV2',
        embed_dims=64,
        num_layers=[3, 4, 6, 3],
        drop_path_rate=0.0,
    ),
)
NAIVE = '_naive'
WITH_CP = '+with_cp'


def backbone_names() -> list[str]:
    """All short names, without their suffixes."""
    return [*PEERS, *named_backbones()]


def build_backbone(name: str) -> nn.Module:
    """Build a backbone.

    Args:
        name: A short name, or the path or name of a config, whose model's
            backbone is built. ``+with_cp`` at the end turns recomputation
            on. A short name of ours may have ``_naive`` at its end, for
            focused attention as it is commonly written.

    Returns:
        The backbone, with random weights.

    Raises:
        ValueError: If there is no such backbone.
        MissingFrameworkError: If it is of a framework that is not installed.
    """
    base = name.removesuffix(WITH_CP)
    short = base.removesuffix(NAIVE)
    scope = 'mmengine'
    if base.endswith('.py') or base in engine.packaged_configs():
        cfg, scope = _of_config(base)
    elif short in PEERS:
        cfg = dict(PEERS[short])
        require(cfg['type'].partition('.')[0], f'the backbone {short!r}')
    elif short in (ours := named_backbones()):
        cls, arch = ours[short]
        cfg = dict(type=cls.__name__, arch=arch)
    else:
        raise ValueError(
            f'There is no backbone {name!r}. Name a config or one of '
            f'{", ".join(backbone_names())}; {WITH_CP!r} may follow, and '
            f'{NAIVE!r} where focused attention is used.'
        )
    if name.endswith(WITH_CP):
        cfg['with_cp'] = True
    with DefaultScope.overwrite_default_scope(scope):
        try:
            model = MODELS.build(cfg)
        except TypeError as error:
            if 'with_cp' not in str(error):
                raise
            raise ValueError(
                f'{name!r}: {cfg["type"]} has no with_cp; leave out '
                f'{WITH_CP!r}.'
            ) from error
    if base.endswith(NAIVE):
        make_naive(model)
    return model


def _of_config(path: str) -> tuple[Config, str]:
    """The backbone's part of a config, and the scope it is built in."""
    cfg = engine.load_config(path)
    if 'backbone' not in cfg.get('model', {}):
        raise ValueError(f'{path} has no model with a backbone.')
    return cfg.model.backbone, cfg.get('default_scope') or 'mmengine'


@dataclass(frozen=True)
class BackboneWork:
    """A backbone on images of one size.

    Attributes:
        name: See :func:`build_backbone`.
        shape: Height and width of the images.
        setting: How it is run.
    """

    name: str
    shape: tuple[int, int]
    setting: Setting

    def build(self) -> Workload:
        """The backbone and random images, the same every time."""
        torch.manual_seed(0)
        model = build_backbone(self.name)
        images = torch.randn(self.setting.batch, 3, *self.shape)
        return Workload(model, (images,), self.setting)
