# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Find a config by its path, or one that comes with the package by name."""

import difflib
from pathlib import Path

from .errors import UsageError

# Where mim and mmengine look for what a package brings. In a checkout these
# are links to the folders at its root.
FOLDER = Path(__file__).resolve().parents[1] / '.mim' / 'configs'


def packaged_configs() -> dict[str, Path]:
    """The configs that come with the package, by their stems."""
    return {path.stem: path for path in sorted(FOLDER.glob('*.py'))}


def find_config(name: str | Path) -> Path:
    """Find the file of a config.

    Args:
        name: A path, or the stem of a config that comes with the package,
            such as ``mask_rcnn_ivit_s_coco`` or one in ``_base_/``. A path
            that exists wins.

    Raises:
        UsageError: If there is neither; it names the nearest stems.
    """
    path = Path(name)
    if path.is_file():
        return path
    packaged = FOLDER / f'{name}.py'
    if packaged.is_file():
        return packaged
    nearest = difflib.get_close_matches(
        path.stem, packaged_configs(), cutoff=0
    )
    raise UsageError(
        f'config not found: {path.absolute()}. Give the path of one, or the '
        f'name of one that comes with ivit, such as {", ".join(nearest)}'
    )
