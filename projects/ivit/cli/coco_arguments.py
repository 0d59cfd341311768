# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The options that name COCO files which lie anywhere."""

import argparse


def add_coco_arguments(
    parser: argparse._ActionsContainer, instead_of: str
) -> None:
    """Add the annotation file and the folder of images of each split.

    Args:
        parser: Gets the options.
        instead_of: The argument that they replace.
    """
    for split in ('train', 'val'):
        parser.add_argument(
            f'--{split}-ann',
            metavar='FILE',
            help=f'COCO json of the {split} images, instead of {instead_of}',
        )
        parser.add_argument(
            f'--{split}-images',
            metavar='FOLDER',
            help='the folder that its file names are relative to',
        )
