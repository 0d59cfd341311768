# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""From the folder that a user names to a config that trains on it."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple, TypeAlias

from mmengine.config import Config

from ..annotations import AnnotatedData, FaultKind
from ..annotations.checks import SOME_WITHOUT_MASK, check
from ..annotations.recognise import read_coco_files, read_folder
from ..annotations.split import ensure_validation
from ..engine.errors import UsageError
from .fit import fit_config, task_of
from .heads import wants_masks

PathLike: TypeAlias = str | Path


class DataPaths(NamedTuple):
    """Where the data is: a folder, or COCO files that lie anywhere.

    Attributes:
        folder: A folder in one of the layouts that are recognised.
        train_ann: COCO file for training.
        train_images: The folder that its file names are relative to.
        val_ann: COCO file for validation.
        val_images: The folder that its file names are relative to.
    """

    folder: PathLike | None = None
    train_ann: PathLike | None = None
    train_images: PathLike | None = None
    val_ann: PathLike | None = None
    val_images: PathLike | None = None

    def read(self, task: str | None = None) -> AnnotatedData:
        """Read the annotations.

        Args:
            task: The task they have to be for; any by default.

        Raises:
            UsageError: If the paths given do not go together.
            ValueError: If the data cannot be read.
        """
        files = self[1:]
        if self.folder is not None and any(files):
            raise UsageError(
                f'--data {self.folder} is a folder of its own; leave out '
                '--train-ann, --train-images, --val-ann and --val-images, '
                'or --data'
            )
        if self.folder is not None:
            return read_folder(self.folder, task)
        if not (self.train_ann and self.train_images):
            raise UsageError(
                '--train-ann and --train-images go together: an annotation '
                'file and the folder that its file names are relative to'
            )
        if task not in (None, 'detection'):
            raise UsageError(
                f'--train-ann is for detection, and the config is for {task}'
            )
        return read_coco_files(
            self.train_ann, self.train_images, self.val_ann, self.val_images
        )

    @property
    def name(self) -> str:
        """A name for the data."""
        place = self.folder or self.train_ann or ''
        return Path(place).absolute().stem


def prepare(
    cfg: Config, paths: DataPaths, epochs: int | None = None
) -> list[str]:
    """Read and check data, and fit a config to it, in place.

    Args:
        cfg: The experiment's config, with ``work_dir`` set.
        paths: Where the data is.
        epochs: How often to go through it; see
            :func:`ivit.own_data.schedule.fit_schedule`.

    Returns:
        What was found, changed and decided, in sentences.

    Raises:
        UsageError: If the data has errors, all of which it names, or does
            not fit the config.
        ValueError: If the data cannot be read.
    """
    data = paths.read(task_of(cfg))
    check(data, quick=True)
    refuse_errors(data, [SOME_WITHOUT_MASK] if wants_masks(cfg) else [])
    data = ensure_validation(data)
    counts = ', '.join(
        f'{len(split)} for {name}' for name, split in data.splits.items()
    )
    notes = [
        f'{data.root}: {data.layout}, {data.task}, images: {counts}, '
        f'{len(data.classes)} classes: {", ".join(data.classes)}',
        *data.notes,
        *(f'warning: {fault}' for fault in data.faults.warnings),
    ]
    return notes + fit_config(cfg, data, _num_processes(cfg), epochs)


def refuse_errors(
    data: AnnotatedData, fatal: Collection[FaultKind] = ()
) -> None:
    """Raise what training must not start with.

    Args:
        data: The data, after its check.
        fatal: Kinds of warnings that are errors for the model at hand.

    Raises:
        UsageError: If the data has errors; it names the first of each kind.
    """
    errors = data.faults.errors
    errors += [f for f in data.faults.warnings if f.kind in fatal]
    if errors:
        raise UsageError(
            f'{data.root} cannot be trained on: '
            + '; '.join(map(str, errors))
            + f' `ivit data {data.root}` shows all of it.'
        )


def _num_processes(cfg: Config) -> int:
    """How many processes the launcher started."""
    names = dict(
        pytorch='WORLD_SIZE', slurm='SLURM_NTASKS', mpi='OMPI_COMM_WORLD_SIZE'
    )
    name = names.get(cfg.get('launcher', 'none'))
    return int(os.environ.get(name, 1)) if name else 1
