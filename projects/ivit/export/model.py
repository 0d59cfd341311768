# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""An exported file in the place of a model, for tests with its config."""

import logging
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from ..engine import UsageError, check_classes
from ..inference.load import read_metainfo
from ..own_data.fit import task_of
from .inputs import loads_blue_first, to_bytes
from .session import Session


@MODELS.register_module()
class OnnxModel(BaseModel):
    """A model whose predictions onnxruntime computes.

    Args:
        path: A file that ``ivit export`` wrote.
        blue_first: Whether the images that come are BGR.
        threads: See :class:`Session`.

    Raises:
        UsageError: If the file is none of ``ivit export``.
    """

    def __init__(
        self, path: str, blue_first: bool = True, threads: int | None = None
    ) -> None:
        super().__init__()
        self.session = Session(path, threads)
        self.blue_first = blue_first

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """Predict what a loader of the config's test data gives."""
        inputs, samples = list(data['inputs']), data['data_samples']
        if len({one.shape for one in inputs}) == 1:
            batches = [torch.stack(inputs)]
        else:
            batches = [one[None] for one in inputs]
        singles = []
        for batch in batches:
            # A pipeline may load uint8 as float32.
            pixels = to_bytes(batch).cpu().numpy()
            if self.blue_first:
                pixels = pixels[:, ::-1]
            arrays = self.session.run(np.ascontiguousarray(pixels))
            for i in range(len(batch)):
                singles.append(
                    {
                        key: torch.from_numpy(value[i])
                        for key, value in arrays.items()
                    }
                )
        convert = _CONVERTERS[self.session.info['task']]
        for sample, outputs in zip(samples, singles, strict=True):
            convert(sample, outputs, self.session.info)
        return samples

    val_step = test_step

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """There is nothing to train.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError('an exported file can be tested alone')


def use_file(cfg: Config, path: str) -> None:
    """Let a config's test run an exported file, in place.

    Args:
        cfg: The config of an experiment.
        path: The file.

    Raises:
        UsageError: If the file is for another task or for other classes.
    """
    info = Session(path).info
    if info['task'] != task_of(cfg):
        raise UsageError(
            f'{path} is for {info["task"]}, and the config for {task_of(cfg)}'
        )
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        asked = read_metainfo(cfg)
    meta = {'dataset_meta': {'classes': info['classes']}}
    check_classes(asked.get('classes'), {'meta': meta})
    if info['task'] == 'segmentation' and 'logits' not in info['outputs']:
        print_log(
            f'{path} returns labels alone. Where the test pipeline resizes, '
            'they are enlarged without the logits between them, which costs '
            'a little at borders; export with --logits for the same test',
            logger='current',
            level=logging.WARNING,
        )
    cfg.model = dict(
        type=OnnxModel.__name__, path=path, blue_first=loads_blue_first(cfg)
    )
    cfg.load_from = None


def _detections(
    sample: Any, outputs: dict[str, Tensor], info: dict[str, Any]
) -> None:
    """Give a ``DetDataSample`` its instances, in its original pixels."""
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import (
        _do_paste_mask,
    )
    from mmengine.structures import InstanceData

    found = outputs['labels'] >= 0
    width, height = sample.scale_factor
    boxes = outputs['boxes'][found]
    boxes = boxes / boxes.new_tensor([width, height, width, height])
    instances = InstanceData(
        bboxes=boxes,
        scores=outputs['scores'][found],
        labels=outputs['labels'][found],
    )
    if 'masks' in outputs:
        rows, columns = sample.ori_shape
        masks = outputs['masks'][found][:, None]
        pasted = torch.zeros(len(masks), rows, columns, dtype=torch.bool)
        # One at a time: all at once they take gigabytes.
        for i in range(len(masks)):
            mask, _ = _do_paste_mask(
                masks[i : i + 1],
                boxes[i : i + 1],
                rows,
                columns,
                skip_empty=False,
            )
            pasted[i] = mask[0] >= info['mask_threshold']
        instances.masks = pasted
    sample.pred_instances = instances


def _label_map(
    sample: Any, outputs: dict[str, Tensor], info: dict[str, Any]
) -> None:
    """Give a ``SegDataSample`` its label map, of its original size."""
    from mmengine.structures import PixelData
    from mmseg.models.utils import resize

    size = tuple(sample.ori_shape)
    if 'logits' in outputs:
        logits = resize(
            outputs['logits'][None],
            size=size,
            mode='bilinear',
            align_corners=info['align_corners'],
        )[0]
        if len(logits) == 1:  # as mmseg has it: the probability
            logits = logits.sigmoid()
            labels = (logits > info['threshold']).long()
        else:
            labels = logits.argmax(0, keepdim=True)
        sample.seg_logits = PixelData(data=logits)
    else:
        labels = outputs['labels'][None]
        if labels.shape[1:] != size:
            labels = resize(labels[None].float(), size=size)[0].long()
    sample.pred_sem_seg = PixelData(data=labels)


def _classification(
    sample: Any, outputs: dict[str, Tensor], info: dict[str, Any]
) -> None:
    """Give a ``DataSample`` its scores and its class."""
    scores = outputs['scores']
    sample.set_pred_score(scores).set_pred_label(scores.argmax())


_CONVERTERS = dict(
    detection=_detections,
    segmentation=_label_map,
    classification=_classification,
)
