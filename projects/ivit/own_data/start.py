# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The weights that a training on data of one's own begins with."""

from mmengine.config import Config, ConfigDict

from ..checkpoints import shipped_for
from ..engine import has_initial_weights, tell_initial_weights


def choose_start(cfg: Config, from_scratch: bool) -> str:
    """Let the backbone start from weights that come with ivit, in place.

    Args:
        cfg: The experiment's config; weights that it names stay.
        from_scratch: Leave the weights that come with ivit out.

    Returns:
        What the training starts from, in words.
    """
    backbone = cfg.model.get('backbone') or ConfigDict()
    name = None if has_initial_weights(cfg) else shipped_for(backbone)
    if name is not None and not from_scratch:
        backbone.init_cfg = dict(type='Pretrained', checkpoint=name)
    start = f'initial weights: {tell_initial_weights(cfg)}'
    if name is None:
        return start
    if from_scratch:
        return f'{start}. Without --from-scratch the backbone has {name}'
    return f'{start}. {name} comes with ivit; --from-scratch leaves it out'
