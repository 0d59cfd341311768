# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Write the graph of a model as an ONNX file."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch.export import Dim

from ..quiet import only_warnings
from .graph import Graph

OPSET = 20
IMAGES = 'images'
SMALLEST = 32
# The size that a graph is made with, unless one is asked for. Odd numbers
# that differ: an exporter that took one for a constant would be found out.
TRACED = (3, 225, 161)
NAMES = ('batch', 'height', 'width')


def write_onnx(
    graph: Graph,
    path: Path,
    shape: tuple[int, int] | None = None,
    batch: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Export a graph.

    Args:
        graph: What :func:`build_graph` makes.
        path: The file; it is replaced.
        shape: Height and width of all images; free by default.
        batch: Number of images; free by default.
        metadata: Texts to put into the file.

    Raises:
        ValueError: If an operator of the graph is not one of ONNX itself.
    """
    sizes = (batch, *(shape or (None, None)))
    traced = [
        size or default for size, default in zip(sizes, TRACED, strict=True)
    ]
    images = torch.zeros(traced[0], 3, *traced[1:], dtype=torch.uint8)
    free = {
        axis: Dim.DYNAMIC
        for axis, size in zip((0, 2, 3), sizes, strict=True)
        if size is None
    }
    with (
        torch.no_grad(),
        warnings.catch_warnings(),
        only_warnings('torch.onnx', 'onnxscript'),
    ):
        warnings.simplefilter('ignore')
        program = torch.onnx.export(
            graph,
            (images,),
            dynamo=True,
            dynamic_shapes=(free,),
            opset_version=OPSET,
            input_names=[IMAGES],
            output_names=graph.outputs,
            custom_translation_table=_translations(graph),
            verbose=False,
        )
        if program is None:  # the exporter before Dynamo returns none
            raise RuntimeError('torch.onnx.export returned nothing')
        program.optimize()
    model = program.model_proto
    _check_operators(model)
    _name_axes(model, sizes)
    onnx.helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _translations(graph: Graph) -> dict:
    """How operators of ours are made of ONNX's."""
    if graph.task != 'detection':
        return {}
    from .translations import translation_table

    return translation_table()


def _check_operators(model: onnx.ModelProto) -> None:
    """Refuse what not every runtime has."""
    foreign = {
        f'{node.domain}::{node.op_type}'
        for node in model.graph.node
        if node.domain not in ('', 'ai.onnx')
    }
    foreign |= {function.name for function in model.functions}
    if foreign:
        raise ValueError(
            'the graph has operators that are not of ONNX: '
            f'{", ".join(sorted(foreign))}'
        )


def _name_axes(
    model: onnx.ModelProto, sizes: tuple[int | None, int | None, int | None]
) -> None:
    """Call the free axes of the images what they are."""
    axes = model.graph.input[0].type.tensor_type.shape.dim
    renamed = {}
    for axis, name, size in zip((0, 2, 3), NAMES, sizes, strict=True):
        if size is None:
            renamed[axes[axis].dim_param] = name
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in renamed:
                dim.dim_param = renamed[dim.dim_param]
    # Names of axes in between would be left with the old ones.
    del model.graph.value_info[:]
