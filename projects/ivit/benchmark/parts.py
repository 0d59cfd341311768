# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the parts of a detector, segmentor or classifier cost."""

import copy
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from ..engine import UsageError
from .cost import Cost, Meter, measure

# What the second stage of a detector sees, as in mmdet's tables.
BOXES, MASKS = 1000, 100
BETWEEN = '(between)'
OTHER_INTERFACE = (AttributeError, NotImplementedError, TypeError)
# A model or a head of mmdet, mmseg or mmpretrain, which have no types.
OpenMMLabModule: TypeAlias = Any


@dataclass
class PartCosts:
    """The costs of a model's parts.

    Attributes:
        costs: Of every part that ran, by its name in the model;
            ``'(between)'`` is what ran outside all of them.
        left_out: Why a part could not be run.
    """

    costs: dict[str, Cost]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> Cost:
        """All that ran."""
        return sum(self.costs.values(), Cost())


def count_parts(model: nn.Module, shape: tuple[int, int]) -> PartCosts:
    """Run one image through every part that inference runs.

    It is run on the meta device, by shapes alone; where a model asks for
    numbers on the way, on the CPU. Post-processing is not run. The second
    stage of a detector gets 1000 boxes, its masks 100.

    Args:
        model: A model of mmdet, mmseg or mmpretrain; it is not changed.
        shape: Height and width of the image.

    Raises:
        UsageError: If a part does not take what the part before it gives, or
            the model does not run for another reason.
    """
    try:
        try:
            return _count(copy.deepcopy(model), shape, 'meta')
        except _NeedsNumbersError:
            return _count(copy.deepcopy(model), shape, 'cpu')
    except (*OTHER_INTERFACE, _NeedsNumbersError) as error:
        raise UsageError(
            f'{type(model).__name__} cannot be counted: {_text(error)}'
        ) from error


def _count(model: nn.Module, shape: tuple[int, int], device: str) -> PartCosts:
    model.to(device)
    model.eval()
    image = torch.zeros(1, 3, *shape, device=device)
    with measure() as meter, meter.within(BETWEEN):
        for name, child in model.named_children():
            # The heads of a cascade come as a list.
            modules: Iterable[nn.Module] = [child]
            if isinstance(child, nn.ModuleList):
                modules = child
            for module in modules:
                for method in ('forward', 'predict'):
                    if hasattr(module, method):
                        run = _metered(meter, name, module, method)
                        setattr(module, method, run)
        left_out = {}
        if hasattr(model, 'roi_head'):
            left_out = _run_two_stages(model, image, meter)
        else:
            _run(model, image)
    costs = {n: c for n, c in meter.costs.items() if c != Cost()}
    return PartCosts(costs, left_out)


class _NeedsNumbersError(Exception):
    """The meta device does not do."""


def _metered(
    meter: Meter, part: str, module: nn.Module, method: str
) -> Callable[..., Any]:
    """A method of a module, with what it runs going to a part."""
    named = _named(getattr(module, method), part, type(module).__name__)

    def run(*args: Any, **kwargs: Any) -> Any:
        with meter.within(part):
            return named(*args, **kwargs)

    return run


def _named(
    forward: Callable[..., Any], part: str, kind: str
) -> Callable[..., Any]:
    """Say in errors which part does not run, and on what."""

    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return forward(*args, **kwargs)
        except (UsageError, _NeedsNumbersError):
            raise
        except Exception as error:  # other people's code: anything
            if 'meta' in str(error):
                raise _NeedsNumbersError(_text(error)) from error
            if isinstance(error, OTHER_INTERFACE):
                raise
            raise UsageError(
                f'{part} ({kind}) does not run on {_shapes(args)}: '
                f'{_text(error)}'
            ) from error

    return run


def _shapes(args: Sequence[Any]) -> str:
    """The shapes of the tensors that a part was given."""
    shapes = [
        'x'.join(map(str, x.shape))
        for arg in args
        for x in (arg if isinstance(arg, list | tuple) else [arg])
        if isinstance(x, Tensor)
    ]
    return ', '.join(shapes) or 'what it was given'


def _text(error: Exception) -> str:
    """An error in one line."""
    return ' '.join(str(error).split()) or type(error).__name__


def _run(model: OpenMMLabModule, image: Tensor) -> None:
    """Run a model that has one stage after another."""
    shape = tuple(image.shape[2:])
    keys = ('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape')
    facts = dict.fromkeys(keys, shape) | dict(scale_factor=(1.0, 1.0))
    if hasattr(model, 'encode_decode'):  # of mmseg
        run, rest = model.encode_decode, facts
    else:
        run = functools.partial(model, mode='tensor')
        rest = BaseDataElement(metainfo=facts)
    name = type(model).__name__
    _named(run, name, name)(image, [rest])


def _run_two_stages(
    model: OpenMMLabModule, image: Tensor, meter: Meter
) -> dict[str, str]:
    """Run a detector without its choice of boxes, which depends on numbers.

    Returns:
        Why a head could not be run.
    """
    maps = model.backbone(image)
    if getattr(model, 'neck', None) is not None:
        maps = model.neck(maps)
    run_rois = _named(_run_roi_head, 'roi_head', type(model.roi_head).__name__)

    def second_stage(maps: tuple[Tensor, ...]) -> None:
        with meter.within('roi_head') as cost:
            run_rois(model.roi_head, maps, cost)

    heads = dict(rpn_head=model.rpn_head, roi_head=second_stage)
    if not model.with_rpn:
        del heads['rpn_head']
    left_out = {
        f'roi_head.{name}': 'only boxes and masks are'
        for name, part in model.roi_head.named_children()
        if not name.startswith(('bbox_', 'mask_head', 'mask_roi', 'shared_'))
        and any(True for _ in part.parameters())
    }
    for name, head in heads.items():
        try:
            head(maps)
        except OTHER_INTERFACE as error:
            kind = type(getattr(model, name)).__name__
            left_out[name] = f'{kind} is run in another way ({error})'
            meter.costs.pop(name, None)
    return left_out


def _run_roi_head(
    roi_head: OpenMMLabModule, maps: tuple[Tensor, ...], cost: Cost
) -> None:
    """Every stage of mmdet's (Cascade) R-CNN, with and without masks."""
    for kind, number in dict(bbox=BOXES, mask=MASKS).items():
        if not getattr(roi_head, f'with_{kind}'):
            continue
        heads = getattr(roi_head, f'{kind}_head')
        extractors = getattr(roi_head, f'{kind}_roi_extractor')
        if not isinstance(heads, nn.ModuleList):
            heads, extractors = [heads], [extractors]
        for head, extractor in zip(heads, extractors, strict=True):
            size = extractor.roi_layers[0].output_size
            rois = maps[0].new_zeros(number, extractor.out_channels, *size)
            cost.uncounted['roi_align'] += rois.numel()
            if roi_head.with_shared_head:
                rois = roi_head.shared_head(rois)
            head(rois)
