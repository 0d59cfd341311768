# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Files with smaller numbers: int8 for CPUs, float16 for GPUs."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from mmengine.config import Config
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from ..engine import UsageError
from ..quiet import only_warnings
from .evaluate import evaluate, time_both
from .inputs import loads_blue_first
from .onnx_file import IMAGES
from .pictures import find_pictures, resize_pictures

# What PyTorch's exporter says of a node: the modules it is in.
SCOPES = 'pkg.torch.onnx.name_scopes'
NUMBERS = ('float32', 'int8', 'half')
NUM_PICTURES, NUM_TIMED = 64, 8
# Backbone, neck and, in segmentors and classifiers, the head. What detectors
# do with boxes stays as it is: float16 has no half pixels beyond 1,024.
HALVED = "'body.model"


def make_smaller(
    numbers: str,
    source: Path,
    path: Path,
    cfg: Config,
    shape: tuple[int, int] | None = None,
    batch: int = 1,
) -> str:
    """Make a file with smaller numbers, and time both.

    Args:
        numbers: ``'int8'`` or ``'half'``.
        source: A file in float32.
        path: The file to write.
        cfg: The config, whose training data calibrates.
        shape: Height and width that the file is for; None for any.
        batch: Number of images that it is for.

    Returns:
        The speed of both, in words.

    Raises:
        UsageError: If there is nothing to calibrate with.
    """
    pictures, words = find_pictures(cfg, NUM_PICTURES, 'train')
    if numbers == 'int8' and words.startswith('drawn'):
        raise UsageError(
            f'int8 is calibrated on the training data of the config: {words}'
        )
    if shape is not None:
        pictures = resize_pictures(pictures, 0, len(pictures), shape)
    order = slice(None, None, -1 if loads_blue_first(cfg) else 1)
    images = [
        np.ascontiguousarray(np.stack([picture.numpy()[order]] * batch))
        for picture in pictures
    ]
    if numbers == 'int8':
        write_int8(source, path, images)
    else:
        write_half(source, path)
    before, after = time_both(source, path, images[:NUM_TIMED])
    return (
        f'{numbers}: {before / after:.2f} times as fast as float32 with '
        f'onnxruntime on this machine ({words})'
    )


def compare_metrics(source: Path, path: Path, cfg: Config) -> str:
    """Test two files on the whole test data.

    Args:
        source: A file in float32.
        path: The file with smaller numbers.
        cfg: The config.

    Returns:
        The metrics of both, in words.
    """
    try:
        float32, small = evaluate(cfg, source), evaluate(cfg, path)
    except (OSError, ValueError) as error:
        reason = ' '.join(str(error).split())
        return f'what it costs is not known: {reason}'
    # COCO's -1 means that there is nothing to measure.
    changes = [
        f'{name} {float32[name]:.4g} -> {small[name]:.4g}'
        for name in small
        if small[name] >= 0
    ]
    return ', '.join(changes)


class _Calibration(CalibrationDataReader):
    """Hands out images one by one."""

    def __init__(self, images: Iterable[np.ndarray]) -> None:
        self._images: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input of a calibration."""
        image = next(self._images, None)
        return None if image is None else {IMAGES: image}


def write_int8(source: Path, path: Path, images: Iterable[np.ndarray]) -> None:
    """Quantise the convolutions and matrix products with weights.

    Weights have a scale for each channel, activations one that is measured on
    images. Products of two activations, as in attention, stay as they are.

    Args:
        source: A file in float32.
        path: The file to write.
        images: RGB, ``(B, 3, H, W)`` of uint8.
    """
    prepared = path.with_name(path.name + '.prepared')
    try:
        with only_warnings('root'):
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            model = onnx.load(prepared)
            quantize_static(
                prepared,
                path,
                _Calibration(images),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=['Conv', 'MatMul', 'Gemm'],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_without_weights(model),
            )
    finally:
        prepared.unlink(missing_ok=True)
    _copy_metadata(source, path)


def _without_weights(model: onnx.ModelProto) -> list[str]:
    """Names of the products of two activations."""
    weights = {one.name for one in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == 'MatMul' and weights.isdisjoint(node.input)
    ]


def write_half(source: Path, path: Path) -> None:
    """Compute in float16; images and results stay as they are.

    Args:
        source: A file in float32.
        path: The file to write.
    """
    model = onnx.load(source)
    kept = [
        node.name for node in model.graph.node if HALVED not in _scopes(node)
    ]
    halved = convert_float_to_float16(
        model, keep_io_types=True, node_block_list=kept
    )
    onnx.save(halved, path)


def _scopes(node: onnx.NodeProto) -> str:
    return next(
        (one.value for one in node.metadata_props if one.key == SCOPES), ''
    )


def _copy_metadata(source: Path, path: Path) -> None:
    """Give a file what another says about itself."""
    model, copy = onnx.load(source), onnx.load(path)
    del copy.metadata_props[:]
    copy.metadata_props.extend(model.metadata_props)
    onnx.save(copy, path)
