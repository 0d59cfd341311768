# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""From a run, or a config and a checkpoint, to a proven file."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..engine import (
    UsageError,
    check_checkpoint_path,
    find_config,
    tell_initial_weights,
)
from ..inference.load import read_model
from ..inference.locate import CHECKPOINTS, HasWorkDir, locate
from ..new_file import open_new
from .describe import describe
from .differences import Differences
from .graph import build_graph
from .model import OnnxModel
from .onnx_file import SMALLEST, write_onnx
from .pictures import find_pictures
from .proof import SIZES, prove
from .smaller import NUMBERS, compare_metrics, make_smaller

SUFFIX = '.onnx'
NUM_PICTURES = 8


@dataclass(frozen=True)
class Exported:
    """A file that agrees with the model it was made of.

    Attributes:
        path: The file.
        task: What it is for.
        outputs: Names of what it returns.
        weights: Where the weights are from: the name of a file, ``'random'``,
            or what the config begins with.
        differences: How far it is from PyTorch.
        pictures: What the two were compared on, in words.
        notes: What smaller numbers cost and gain, in words.
    """

    path: Path
    task: str
    outputs: tuple[str, ...]
    weights: str
    differences: Differences
    pictures: str
    notes: str


def export(
    run: HasWorkDir | str | Path,
    out: str | Path,
    checkpoint: str | Path | None = None,
    *,
    part: str = 'model',
    shape: tuple[int, int] | None = None,
    batch: int | None = None,
    logits: bool = False,
    numbers: str = 'float32',
    cfg_options: dict[str, Any] | None = None,
) -> Exported:
    """Write a model as an ONNX file and prove that it is the same model.

    The file takes RGB images ``(B, 3, H, W)`` of uint8. docs/export.md says
    what it returns. onnxruntime's results are compared with PyTorch's.

    Args:
        run: What ``ivit.train`` returns, the folder of a training, or a
            config, by its path or the name of one that comes with ivit.
        out: The file, which ends with ``.onnx``. Nothing is overwritten.
        checkpoint: The weights, as :func:`ivit.load` takes them. Without
            them a config gets random ones.
        part: ``'model'``, or ``'backbone'`` for backbone and neck alone.
        shape: Height and width of all images; any by default.
        batch: Number of images; any by default.
        logits: Whether a segmentor returns its logits too.
        numbers: What the file computes with: ``'float32'``, ``'int8'``, which
            is calibrated on the config's training data, or ``'half'``.
        cfg_options: Changes to the config, by dotted keys.

    Returns:
        What was written, and how far it is from PyTorch.

    Raises:
        ValueError: If the model cannot be exported, or the file does not
            agree with it; no file of this name is left then.
    """
    path = Path(out)
    _check_arguments(path, shape, batch, numbers)
    _check_folder(path)
    config, file = _locate(run, checkpoint)
    model = read_model(config, file, cfg_options=cfg_options)
    graph = build_graph(model.module, model.config, part, logits)
    if file is None:
        model.config.load_from = None  # which a runner would load, not this
    weights = Path(file).name if file else tell_initial_weights(model.config)
    metadata = describe(
        graph, model.config, model.classes, model.palette, weights
    )
    with TemporaryDirectory(prefix='.export-', dir=path.parent) as folder:
        unproven = Path(folder, f'float32{SUFFIX}')
        write_onnx(graph, unproven, shape, batch, metadata)
        pictures, words = find_pictures(model.config, NUM_PICTURES)
        sizes = [(batch or free, *(shape or size)) for free, *size in SIZES]
        differences = prove(
            model.module,
            OnnxModel(str(unproven)),
            model.config,
            pictures,
            sizes if shape is None else sizes[:NUM_PICTURES:3],
        )
        problems = differences.problems()
        if problems:
            raise UsageError(
                f'{path} is not written: onnxruntime and PyTorch differ. '
                + '; '.join(problems)
                + f' ({differences}; {words})'
            )
        notes = ''
        result = unproven
        if numbers != 'float32':
            result = Path(folder, f'{numbers}{SUFFIX}')
            notes = make_smaller(
                numbers, unproven, result, model.config, shape, batch or 1
            )
        with open_new(path) as copy:
            copy.write(result.read_bytes())
        # When the file is safe: it may take hours.
        if numbers != 'float32' and shape is None and batch is None:
            notes += f'; {compare_metrics(unproven, path, model.config)}'
    return Exported(
        path, graph.task, graph.outputs, weights, differences, words, notes
    )


def _check_arguments(
    path: Path,
    shape: tuple[int, int] | None,
    batch: int | None,
    numbers: str,
) -> None:
    if numbers not in NUMBERS:
        raise UsageError(f'numbers={numbers!r} must be one of {NUMBERS}')
    if path.suffix != SUFFIX:
        raise UsageError(f'--out {path}: the file must end with {SUFFIX}')
    if path.exists():
        raise UsageError(
            f'{path} exists and is not overwritten: give another name or '
            'remove it'
        )
    if shape is not None and min(shape) < SMALLEST:
        raise UsageError(
            f'--shape {shape[0]} {shape[1]}: sides are {SMALLEST} pixels at '
            'least'
        )
    if batch is not None and batch < 1:
        raise UsageError(f'--batch {batch} must be at least 1')


def _check_folder(path: Path) -> None:
    """Make the folder of a file, and find out whether it takes one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix='.export-', dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(
            f'--out {path}: nothing can be written there ({error})'
        ) from error


def _locate(
    run: HasWorkDir | str | Path, checkpoint: str | Path | None
) -> tuple[Path, str | None]:
    """The config and the weights; a config alone has none."""
    if (
        checkpoint is None
        and isinstance(run, (str, Path))
        and not Path(run).expanduser().is_dir()
        and Path(run).suffix not in CHECKPOINTS
    ):
        return Path(find_config(run)), None
    config, file = locate(run, checkpoint, 'behind the run, as CHECKPOINT')
    check_checkpoint_path(file)
    return config, file
