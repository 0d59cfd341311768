# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Predict images with a finished run.

Writes each image with its prediction drawn on it, and the predictions: of a
detector in COCO's form of results, of a segmentor as label maps, of a
classifier as a table. docs/predict.md describes the files. Images that cannot
be read are named and skipped; the exit status is then 1.

    ivit predict work_dirs/mask_rcnn_ivit_t_coco photo.jpg other.png
    ivit predict work_dirs/mask_rcnn_ivit_t_coco photos --batch-size 4
    ivit predict work_dirs/mask_rcnn_ivit_t_coco clip.mp4 --device cuda:1
    find photos -newer list.txt | ivit predict work_dirs/mine - --out new
"""

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from .. import engine
from ..inference import ImageError, ImageLike, Model, load
from ..inference.output import PredictionFolder, check_is_new
from ..inference.sources import Source, open_source
from .parser import Parser


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser('ivit predict', __doc__)
    add = parser.add_argument
    add(
        'run',
        metavar='RUN',
        help='folder of a training; or path or name of a config, with '
        '--checkpoint',
    )
    add(
        'places',
        nargs='+',
        metavar='IMAGE|FOLDER|VIDEO|-',
        help='images, or one of the others; - reads paths of images from '
        'stdin, one a line',
    )
    add(
        '--checkpoint',
        metavar='FILE',
        help='by default the best one of the training, or else its latest',
    )
    add(
        '--out',
        type=Path,
        metavar='DIR',
        help='new or empty folder; RUN/predictions/TIME by default',
    )
    add(
        '--score',
        type=float,
        default=0.3,
        help='least score of an object (default: %(default)s)',
    )
    add(
        '--batch-size',
        type=int,
        default=1,
        metavar='N',
        help='images of one size at once (default: %(default)s)',
    )
    add('--device', help='the GPU by default, where there is one')
    args = parser.parse_args(argv)
    if not 0 <= args.score <= 1:
        parser.error(f'--score {args.score}: it has to be in 0..1')
    if args.batch_size < 1:
        parser.error(f'--batch-size {args.batch_size}: at least 1')
    return args


def default_folder(run: str) -> Path:
    """A folder in the run's, or in the one its config would train in."""
    folder = Path(run).expanduser()
    if not folder.is_dir():
        folder = Path('work_dirs', folder.stem)
    return folder / 'predictions' / time.strftime('%Y%m%d_%H%M%S')


def predict_all(
    model: Model,
    source: Source,
    output: PredictionFolder,
    score: float,
    batch_size: int,
) -> int:
    """Predict and write, with a bar on stderr.

    Returns:
        How many images, or frames at the end of a video, were skipped.
    """
    names: deque[str] = deque()

    def images() -> Iterator[ImageLike]:
        for name, image in source.items:
            names.append(name)
            yield image

    skipped = 0
    with Progress(
        TextColumn('Predicting'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        bar = progress.add_task('', total=source.total)

        def say(text: str) -> None:
            progress.console.print(
                text, markup=False, highlight=False, soft_wrap=True
            )

        for result in model.predict_each(images(), score, batch_size):
            name = names.popleft()
            if isinstance(result, ImageError):
                say(f'skipped: {result}')
                skipped += 1
            else:
                output.add(name, result)
            progress.advance(bar)
        video = source.video
        if video and video.announced and video.count < video.announced:
            say(
                f'{video.path}: {video.count} frames could be read of '
                f'{video.announced} that it announces'
            )
            skipped += video.announced - video.count
    return skipped


def run(args: argparse.Namespace) -> int:
    """Predict as the command line says, and print what became of it.

    Returns:
        How many images were skipped.
    """
    folder = args.out or default_folder(args.run)
    check_is_new(folder)
    source = open_source(args.places, sys.stdin)
    model = load(args.run, args.checkpoint, args.device)
    output = PredictionFolder(folder, model, source.video)
    try:
        skipped = predict_all(
            model, source, output, args.score, args.batch_size
        )
    finally:  # what has been predicted until an error is not lost
        output.finish()
    said = [f'{output.num_images} images']
    if model.task == 'detection':
        said.append(f'{output.num_objects} objects')
    if skipped:
        said.append(f'{skipped} skipped')
    print(f'{folder}: {", ".join(said)}, with {model.checkpoint}')
    return skipped


def main(argv: Sequence[str] | None = None) -> None:
    """Predict; the exit status is 1 if images were skipped."""
    args = parse_args(argv)
    try:
        with engine.one_line_errors():
            skipped = run(args)
    except KeyboardInterrupt:
        sys.exit('predict: interrupted')
    if skipped:
        sys.exit(1)
