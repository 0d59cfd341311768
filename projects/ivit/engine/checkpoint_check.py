# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Refuse a checkpoint that does not belong to the model."""

import re
from collections import Counter, OrderedDict
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..checkpoints import (
    check_checkpoint_file,
    describe,
    extract_weights,
    find_checkpoint_file,
)
from .errors import UsageError, listed
from .initial_weights import files_of_parts

MAX_LISTED = 5  # weights named in a message


def check_checkpoint_path(path: str | None) -> None:
    """Check that a local file exists and is a checkpoint.

    Args:
        path: Path of the file, or the name of weights that come with the
            package. An address such as ``https://...``, an empty
            string and None are not checked.

    Raises:
        UsageError: If the file does not exist.
        ValueError: If the file is not a checkpoint.
    """
    if not path or '://' in path:
        return
    try:
        file = find_checkpoint_file(path)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from None
    check_checkpoint_file(file)


class CheckpointCheck(Hook):
    """Compare a checkpoint with the model before mmengine loads it.

    mmengine loads the weights that fit and leaves the others random. With
    this hook no weight of the backbone may be missing, left over or of
    another shape. State-dict hooks run before the comparison: a module may
    rename the weights of an older checkpoint.

    Args:
        whole_model: Whether neck and heads have to fit as well, as in a test
            or a resumed training. In a fine-tuning on other classes the heads
            differ.
    """

    def __init__(self, whole_model: bool) -> None:
        self.whole_model = whole_model

    def before_run(self, runner: Runner) -> None:
        """Check the files of ``init_cfg``, which only a training loads.

        Raises:
            UsageError: If a file does not exist.
            ValueError: If a file is not a checkpoint.
        """
        if not isinstance(runner._train_loop, BaseLoop):
            return  # a test has no training loop built
        for _, path in files_of_parts(runner.cfg):
            check_checkpoint_path(path)

    def before_train(self, runner: Runner) -> None:
        """Say so if a resumed training is over already."""
        if runner.iter >= runner.max_iters > 0:
            runner.logger.warning(
                f'nothing is trained: the checkpoint has {runner.iter} steps, '
                f'and the config ends at {runner.max_iters}. Set more epochs '
                'or iterations to go on'
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check that the checkpoint fits.

        Raises:
            UsageError: If weights do not fit; it names some of them.
        """
        model = runner.model
        if is_model_wrapper(model):
            if not isinstance(model, DistributedDataParallel):
                return  # another wrapper may shard, which changes shapes
            model = model.module
        if isinstance(model, BaseTTAModel):
            model = model.module
        state = _prepare_state(model, checkpoint, self.whole_model)
        if self.whole_model:
            check_classes(_find_classes(runner), checkpoint)
        else:
            runner.logger.info(_tell_what_is_kept(model, state))
        _refuse_misfits(model, state, self.whole_model)
        left_over = _tell_left_over(model, state) if self.whole_model else ''
        if left_over and not _is_testing(runner):
            raise UsageError(left_over)
        if left_over:  # a test may leave a head out: boxes without masks
            runner.logger.warning(left_over)


def load_whole(model: nn.Module, checkpoint: dict) -> None:
    """Load all of a checkpoint into all of a model.

    Args:
        model: The model.
        checkpoint: The content of the file.

    Raises:
        UsageError: If a weight of the model is missing, has another shape or
            is left over.
        ValueError: If the backbone's weights do not fit.
    """
    state = _prepare_state(model, checkpoint, True)
    _refuse_misfits(model, state, True)
    if left_over := _tell_left_over(model, state):
        raise UsageError(left_over)
    given = checkpoint.get('state_dict', checkpoint)
    weights = OrderedDict(_without_wrapper(given))
    # It has the versions by which modules recognise older checkpoints.
    versions = getattr(given, '_metadata', OrderedDict())
    weights._metadata = versions  # type: ignore[attr-defined]  # as torch does
    model.load_state_dict(weights, strict=False)


def check_classes(asked: Sequence[str] | None, checkpoint: dict) -> None:
    """Refuse a checkpoint whose classes are others than the data set's.

    Args:
        asked: The classes of the data set; None if it names none.
        checkpoint: The content of the file.

    Raises:
        UsageError: If both name classes and the names differ.
    """
    meta = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
    trained = meta.get('classes')
    if trained is None or asked is None or list(trained) == list(asked):
        return
    raise UsageError(
        f'the checkpoint was trained on the classes {listed(trained)}, and '
        f'the data set has {listed(asked)}. Give '
        "the data set's metainfo the classes of the checkpoint, in their "
        'order, or take the config that it was trained with'
    )


def _find_classes(runner: Runner) -> Sequence[str] | None:
    """The classes of the data that a runner tests or trains on."""
    loop = runner._test_loop if _is_testing(runner) else runner._train_loop
    dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
    return (getattr(dataset, 'metainfo', None) or {}).get('classes')


def _prepare_state(
    model: nn.Module, checkpoint: dict, whole_model: bool
) -> dict:
    """The weights of a checkpoint by the names of a model.

    Args:
        model: The model, whose own state-dict hooks run.
        checkpoint: The content of the file. If it is of a backbone alone, it
            gets the names of a whole model, in place.
        whole_model: See :class:`CheckpointCheck`.
    """
    is_classifier = hasattr(model, 'head')
    if is_classifier or not whole_model:
        prefix = '' if is_classifier else 'backbone.'
        _prefix_backbone_weights(checkpoint, prefix)
    state = _without_wrapper(checkpoint.get('state_dict', checkpoint))
    # The hooks of the model itself, such as a classifier's, which renames
    # the weights in a file of the FLatten authors. Those of its parts run
    # in _find_misfits.
    for hook in model._load_state_dict_pre_hooks.values():
        hook(state, '', {}, True, [], [], [])
    return state


def _without_wrapper(state: dict) -> dict:
    """Weights without the prefix that a model wrapper gives them."""
    return {re.sub(r'^module\.', '', name): state[name] for name in state}


def _refuse_misfits(model: nn.Module, state: dict, whole_model: bool) -> None:
    """Refuse weights that do not fit the backbone, or the whole model."""
    problems = []
    for name, part in model.named_children():
        if name == 'backbone' or whole_model:
            problems += _find_misfits(part, name, state)
    if problems:
        raise UsageError(
            'the checkpoint does not fit the model: '
            + '; '.join(problems[:MAX_LISTED])
            + _more(len(problems) - MAX_LISTED)
            + '. Was it trained with this config? The arch, the heads '
            'or the number of classes may differ. Weights for the '
            'backbone alone are given with --cfg-options pretrained=FILE.'
        )


def _tell_left_over(model: nn.Module, state: dict) -> str:
    """Which weights of a checkpoint a model has no place for, if any.

    Args:
        model: The model, into which they are loaded.
        state: Weights of the whole model.
    """
    # Hooks of older checkpoints may change what they are given.
    found = model.load_state_dict(OrderedDict(state), strict=False)
    names = found.unexpected_keys
    if not names:
        return ''
    return (
        'the checkpoint has weights that the model has no place for: '
        f'{", ".join(names[:MAX_LISTED])}'
        + _more(len(names) - MAX_LISTED)
        + '. Was it trained with this config? A head may have been left '
        'out of it'
    )


def _more(number: int) -> str:
    """How many are not listed, if any."""
    return f'; and {number} more' if number > 0 else ''


def _is_testing(runner: Runner) -> bool:
    """Whether a runner has a test loop built and no training loop."""
    return isinstance(runner._test_loop, BaseLoop) and not isinstance(
        runner._train_loop, BaseLoop
    )


def _tell_what_is_kept(model: nn.Module, state: dict) -> str:
    """Which weights of a checkpoint go into a model, by parts."""
    kept: Counter[str] = Counter()
    anew: Counter[str] = Counter()
    for name, value in model.state_dict().items():
        part = '.'.join(name.split('.')[:2])
        if name.startswith('backbone.'):
            part = 'backbone'
        fits = name in state and state[name].shape == value.shape
        (kept if fits else anew)[part] += 1
    text = ', '.join(f'{part} ({kept[part]})' for part in kept) or 'nothing'
    text = f'load_from: kept are {text}'
    if anew:
        text += '; start anew: '
        text += ', '.join(f'{part} ({anew[part]})' for part in anew)
    return text


def _prefix_backbone_weights(checkpoint: dict, prefix: str) -> None:
    """Add the prefix that the model has, if the weights are of a backbone.

    A file of the FLatten authors in ``load_from`` of a detector is such a
    file. A classifier gets it without a prefix, because it renames the
    weights itself, those of the head included.

    Args:
        checkpoint: The content of the file; changed in place.
        prefix: What the names shall begin with.
    """
    weights = extract_weights(checkpoint)
    if describe(weights):
        checkpoint.clear()
        checkpoint['state_dict'] = {
            f'{prefix}{name}': value for name, value in weights.items()
        }


def _find_misfits(part: nn.Module, name: str, state: dict) -> list[str]:
    """Load a part of the model and list the weights that do not fit.

    mmengine loads the same values again afterwards.

    Args:
        part: The part, whose state-dict hooks run.
        name: Its name in the model.
        state: Weights of the whole model.
    """
    prefix = f'{name}.'
    weights = {
        key[len(prefix) :]: value
        for key, value in state.items()
        if key.startswith(prefix)
    }
    try:
        missing, unexpected = part.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # a heading and a line for each weight
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
