# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Faults of images that a config's pipeline takes care of."""

from typing import Any

from ..annotations import Fault, Faults
from ..annotations.checks.images import DEEP, EXIF_TURNED, EXIF_UNCLEAR
from ..nested import iterate_dicts

# Values of LoadImageFromFile's color_type that take care of a fault.
HANDLED_BY = {
    DEEP: ('unchanged', 'anydepth'),
    EXIF_TURNED: ('color_ignore_orientation', 'unchanged'),
    EXIF_UNCLEAR: ('color_ignore_orientation', 'unchanged'),
}


def drop_what_is_handled(
    faults: Faults, dataset: dict[str, Any]
) -> list[Fault]:
    """The faults that remain with a data set's way of loading images.

    Args:
        faults: What was found.
        dataset: The data set's config.
    """
    color_type = 'color'
    for node in iterate_dicts(dataset.get('pipeline') or []):
        if str(node.get('type', '')).endswith('LoadImageFromFile'):
            color_type = node.get('color_type', color_type)
    return [
        fault
        for fault in faults
        if color_type not in HANDLED_BY.get(fault.kind, ())
    ]
