# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Kinds of fault of files that adapters find in reading and checks after."""

from .faults import FaultKind

IGNORE_EXIF = (
    "color_type='color_ignore_orientation' in LoadImageFromFile, in all "
    'pipelines, reads images as they are stored.'
)

IMAGE_MISSING = FaultKind(
    'error',
    'image file is missing',
    'Put it there, or take it out of the annotations.',
)
IMAGE_UNREADABLE = FaultKind(
    'error',
    'image file cannot be read',
    'Replace it, or take it out of the data with its annotations.',
)
#: The sizes do not tell if the annotations are of the stored pixels.
EXIF_UNCLEAR = FaultKind(
    'warning',
    'image is turned by its EXIF orientation, perhaps unlike its annotations',
    f'See if the boxes or label maps fit. If not: {IGNORE_EXIF}',
)
MAP_UNREADABLE = FaultKind(
    'error',
    'label map cannot be read',
    'Replace it, or take it out with its image.',
)
MAP_FRACTIONS = FaultKind(
    'error',
    'label map stores fractions',
    'Save it as a PNG of 8 bits whose numbers are the classes.',
)
MAP_SIZE = FaultKind(
    'error',
    'label map has not the size of its image',
    'Make both of one size; scale label maps without interpolation.',
)
MAP_VALUES = FaultKind(
    'error',
    'label map has values or colours that are no class',
    'Correct it (interpolation and JPEG make new values), or name the '
    'classes.',
)
