# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Refuse a checkpoint that does not belong to the model."""

import re
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..checkpoints import check_checkpoint_file, describe, unwrap
from ..nested import iterate_dicts
from .errors import UsageError

NAMED = 5  # weights named in a message


def check_checkpoint_path(path: str | None) -> None:
    """Check that a checkpoint on the local disk exists and is one.

    Args:
        path: A file, or an address with a scheme, which is left alone.

    Raises:
        UsageError: If the file does not exist.
        ValueError: If it is not a checkpoint.
    """
    if not path or '://' in path:
        return
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f'checkpoint not found: {file.absolute()}')
    check_checkpoint_file(file)


class CheckpointCheck(Hook):
    """Compare a checkpoint with the model before mmengine loads it.

    mmengine loads what fits and goes on with random weights for the rest.
    Here the backbone has to fit without anything missing, left over or of
    another shape; hooks by which a module adapts an older checkpoint, or
    refuses it as ivit's backbones do, do their work first.

    Args:
        whole_model: Require the weights of the other parts as well, as for
            a test or a resumed training. Otherwise heads may differ, as when
            a detector is fine-tuned on other classes.
    """

    def __init__(self, whole_model: bool) -> None:
        self.whole_model = whole_model

    def before_run(self, runner: Runner) -> None:
        """Look at the files of ``init_cfg``, which a training loads.

        Raises:
            UsageError: See :func:`check_checkpoint_path`.
            ValueError: The same.
        """
        if not isinstance(runner._train_loop, BaseLoop):
            return  # not built: a test
        for init in iterate_dicts(runner.cfg.to_dict().get('model')):
            path = init.get('checkpoint')
            if init.get('type') == 'Pretrained' and isinstance(path, str):
                check_checkpoint_path(path)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raise a ``UsageError`` naming the weights that do not fit."""
        model = runner.model
        if is_model_wrapper(model):
            if not isinstance(model, DistributedDataParallel):
                return  # sharded weights have other shapes
            model = model.module
        if isinstance(model, BaseTTAModel):
            model = model.module
        is_classifier = hasattr(model, 'head')
        if is_classifier or not self.whole_model:
            _place_backbone(checkpoint, '' if is_classifier else 'backbone.')
        state = checkpoint.get('state_dict', checkpoint)
        state = {re.sub(r'^module\.', '', name): state[name] for name in state}
        # What the whole model does to names, as a classifier with the FLatten
        # authors' files; its parts do theirs below.
        for hook in model._load_state_dict_pre_hooks.values():
            hook(state, '', {}, True, [], [], [])
        problems = []
        for name, part in model.named_children():
            if name == 'backbone' or self.whole_model:
                problems += _differences(part, name, state)
        if problems:
            more = len(problems) - NAMED
            raise UsageError(
                'the checkpoint does not fit the model: '
                + '; '.join(problems[:NAMED])
                + (f'; and {more} more' if more > 0 else '')
                + '. Was it trained with this config? The arch, the heads '
                'or the number of classes may differ. Weights for the '
                'backbone alone are given with --cfg-options pretrained=FILE.'
            )


def _place_backbone(checkpoint: dict, prefix: str) -> None:
    """Put weights of a backbone alone where mmengine and its hooks look.

    Such as the FLatten authors' files in ``load_from`` of a detector. A
    classifier has its own way with their names, head included.
    """
    weights = unwrap(checkpoint)
    if describe(weights):
        checkpoint.clear()
        checkpoint['state_dict'] = {
            f'{prefix}{name}': value for name, value in weights.items()
        }


def _differences(part: nn.Module, name: str, state: dict) -> list[str]:
    """What differs between a part of the model and its share of ``state``.

    The share is loaded on the way; mmengine loads the same values again.
    """
    prefix = f'{name}.'
    share = {
        key[len(prefix) :]: value
        for key, value in state.items()
        if key.startswith(prefix)
    }
    try:
        missing, unexpected = part.load_state_dict(share, strict=False)
    except RuntimeError as error:  # one line for each weight
        return [
            f'{prefix}{line.strip().removeprefix("size mismatch for ")}'
            for line in str(error).splitlines()[1:]
        ]
    problems = [
        f'{prefix}{key} is missing'
        for key in missing
        if not key.endswith('num_batches_tracked')
    ]
    if name == 'backbone':
        problems += [f'{prefix}{key} is left over' for key in unexpected]
    return problems
