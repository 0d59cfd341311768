# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Pictures of results, by the frameworks' visualizers."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.structures import InstanceData

from .results import Classification, Detections, LabelMap

OPACITY = 0.6
# An image of fewer pixels across is enlarged for the text on it.
LEAST_FOR_TEXT = 224
ALL = -1.0  # the score that every object is drawn above


def draw(result: Any) -> np.ndarray:
    """Draw a result on its image.

    Args:
        result: Of any task.

    Returns:
        ``(H, W, 3)`` uint8 RGB, of the size of the image; the picture of a
        classification is at least 224 pixels wide and high.
    """
    with warnings.catch_warnings():
        # mmengine, of every object near the border.
        warnings.filterwarnings('ignore', '.*is out of bounds')
        if isinstance(result, Detections):
            return _draw_detections(result)
        if isinstance(result, LabelMap):
            return _draw_label_map(result)
        return _draw_classification(result)


def _draw_detections(result: Detections) -> np.ndarray:
    from mmdet.structures import DetDataSample
    from mmdet.visualization import DetLocalVisualizer

    image = result.picture.read()
    if not len(result):
        return image
    objects = InstanceData(
        bboxes=torch.from_numpy(result.boxes),
        scores=torch.from_numpy(result.scores),
        labels=torch.from_numpy(result.labels),
    )
    if result.masks is not None:
        objects.masks = torch.from_numpy(result.masks)
    visualizer = DetLocalVisualizer(alpha=OPACITY)
    visualizer.dataset_meta = dict(
        classes=result.picture.classes, palette=list(result.picture.palette)
    )
    with _same_random_numbers():
        visualizer.add_datasample(
            'prediction',
            image,
            DetDataSample(pred_instances=objects),
            draw_gt=False,
            pred_score_thr=ALL,
        )
    return visualizer.get_image()


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Let mmdet vary the colours of masks alike every time.

    It draws from numpy's global generator, which is left as it was.
    """
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def _draw_label_map(result: LabelMap) -> np.ndarray:
    from mmseg.visualization import SegLocalVisualizer

    image = result.picture.read()
    # As mmseg blends, whose own function fails at an image of one pixel and
    # needs seconds for the names in a large one.
    colors = np.array(result.picture.palette, np.uint8)[result.labels]
    blended = image * (1 - OPACITY) + colors * OPACITY
    # Black is the colour of what is no thing: the image stays as it is.
    painted = colors.any(-1)
    blended[~painted] = image[~painted]
    visualizer = SegLocalVisualizer()
    visualizer.set_image(blended.astype(np.uint8))
    found = np.unique(result.labels[painted])
    if not len(found):
        return visualizer.get_image()
    visualizer.draw_texts(
        [result.names[label] for label in found],
        torch.tensor([_middle(result.labels == label) for label in found]),
        colors='w',
        vertical_alignments='center',
        horizontal_alignments='center',
        font_sizes=max(6, min(image.shape[:2]) // 40),
        bboxes=dict(facecolor='black', alpha=OPACITY, pad=0.7, linewidth=0),
    )
    return visualizer.get_image()


def _middle(mask: np.ndarray) -> tuple[float, float]:
    """A pixel of a mask, in the middle of its middle row, as x and y."""
    rows = np.flatnonzero(mask.any(1))
    counts = np.cumsum(mask.sum(1))
    y = int(np.searchsorted(counts, counts[-1] / 2))
    y = y if mask[y].any() else int(rows[0])
    columns = np.flatnonzero(mask[y])
    return float(columns[len(columns) // 2]), float(y)


def _draw_classification(result: Classification) -> np.ndarray:
    from mmpretrain.structures import DataSample
    from mmpretrain.visualization import UniversalVisualizer

    sample = DataSample()
    sample.set_pred_score(torch.from_numpy(result.scores))
    sample.set_pred_label(result.label)
    small = min(result.size) < LEAST_FOR_TEXT
    return UniversalVisualizer().visualize_cls(
        result.picture.read(),
        sample,
        classes=list(result.picture.classes),
        draw_gt=False,
        resize=LEAST_FOR_TEXT if small else None,
    )
