# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Time exported files against PyTorch, in turns.

python -m ivit.export.benchmark mask_rcnn_ivit_s_coco --part backbone
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from ..benchmark.timing import interleave, ratios
from ..engine import find_config, one_line_errors
from ..inference.load import read_model
from ..quiet import only_warnings
from .describe import describe
from .graph import PARTS, Graph, build_graph
from .onnx_file import write_onnx
from .session import Session


def make_both(config: str, part: str, path: Path) -> tuple[Graph, Session]:
    """The graph of a config with random weights, and its file.

    Args:
        config: Its path, or the name of one that comes with ivit.
        part: See :func:`.build_graph`.
        path: The file to write.
    """
    with only_warnings():
        model = read_model(find_config(config), None)
    graph = build_graph(model.module, model.config, part)
    texts = describe(
        graph, model.config, model.classes, model.palette, 'random'
    )
    write_onnx(graph, path, metadata=texts)
    return graph, Session(path, torch.get_num_threads())


def time_row(
    graph: Graph, session: Session, shape: tuple[int, int], rounds: int
) -> tuple[float, float, float, tuple[float, float] | None]:
    """Time one image of a size.

    Returns:
        Median seconds of PyTorch and of onnxruntime, how many times as fast
        the latter is by the median round, and the 95 % interval of that.
    """
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (1, 3, *shape), dtype=np.uint8)
    tensor = torch.from_numpy(images)
    with torch.no_grad():
        seconds = interleave(
            {
                'torch': partial(graph, tensor),
                'onnxruntime': partial(session.run, images),
            },
            rounds,
            'cpu',
            f'{shape[0]} x {shape[1]}',
        )
    eager, exported = seconds['torch'], seconds['onnxruntime']
    return (median(eager), median(exported), *ratios(eager, exported))


def main() -> None:
    """Print a row for each config and size."""
    parser = argparse.ArgumentParser(
        prog='python -m ivit.export.benchmark', description=__doc__
    )
    parser.add_argument('configs', nargs='+')
    parser.add_argument('--part', choices=PARTS, default=PARTS[0])
    parser.add_argument(
        '--shape', type=int, nargs=2, action='append', metavar=('H', 'W')
    )
    parser.add_argument('--threads', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--rounds', type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lines = ['| config | part | size | PyTorch, s | onnxruntime, s | ratio |']
    lines.append('| --- ' * 6 + '|')
    with one_line_errors(), TemporaryDirectory() as folder:
        for number, config in enumerate(args.configs):
            path = Path(folder, f'{number}.onnx')
            graph, session = make_both(config, args.part, path)
            for shape in args.shape or [(800, 1344)]:
                eager, exported, ratio, interval = time_row(
                    graph, session, shape, args.rounds
                )
                ends = (
                    f' ({interval[0]:.2f} to {interval[1]:.2f})'
                    if interval
                    else ''
                )
                lines.append(
                    f'| `{config}` | {args.part} | {shape[0]} x {shape[1]} '
                    f'| {eager:.2f} | {exported:.2f} | {ratio:.2f}{ends} |'
                )
    sys.stdout.write('\n'.join([*lines, '']))


if __name__ == '__main__':
    main()
