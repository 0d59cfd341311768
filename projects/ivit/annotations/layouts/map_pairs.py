# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Find the label map of each image by its name."""

from collections.abc import Iterable
from pathlib import Path

from ..faults import Faults
from ..files import IMAGE_SUFFIXES, list_images
from . import fault_kinds
from .folders import count_other_images, stem_within

#: Suffixes of files that may be label maps. JPEG is among them for the fault
#: that it is.
MAP_SUFFIXES = (*IMAGE_SUFFIXES, '.gif')

#: Endings of names of label maps, those that are taken first come first.
MAP_ENDINGS = (
    '_gtFine_labelTrainIds',
    '_gtFine_labelIds',
    '_labelTrainIds',
    '_labelIds',
    '_mask',
    '_masks',
    '_label',
    '_labels',
    '_seg',
    '_segmentation',
    '_gt',
    '_annotation',
)
#: Endings of names of images.
IMAGE_ENDINGS = ('_leftImg8bit', '_image', '_img', '_rgb')
#: Endings of other files of an image that lie among label maps.
OTHER_ENDINGS = (
    '_gtFine_color',
    '_gtFine_instanceIds',
    '_gtFine_instanceTrainIds',
)


def pair_maps(
    images: Path, maps: Path, notes: list[str], faults: Faults
) -> list[tuple[Path, Path]]:
    """Pair the images in a folder with the label maps in another one.

    They lie in sub folders of the same names, if in any. An image whose own
    name a label map has takes that one, before one with an ending.

    Args:
        images: The folder of images.
        maps: The folder of label maps.
        notes: Where to say which files were not used.
        faults: Where to count images and label maps without the other.

    Returns:
        The pairs, in the order of images.
    """
    by_stem = {
        usual_ending(stem_within(path, maps)): path
        for path in list_images(maps, MAP_SUFFIXES)
    }
    owned: set[str] = set()
    pairs = []
    taken = set()
    count_other_images(images, faults)
    for image in list_images(images):
        names = possible_names(stem_within(image, images), MAP_ENDINGS)
        owned.update(names)
        owned.update(possible_names(stem_within(image, images), OTHER_ENDINGS))
        stem = next((name for name in names if name in by_stem), None)
        if stem is None:
            faults.add(fault_kinds.MAP_MISSING, image)
        else:
            pairs.append((image, by_stem[stem]))
            taken.add(stem)
    unused = sorted(set(by_stem) - taken)
    beside = [stem for stem in unused if stem in owned]
    if beside:
        notes.append(
            f'{len(beside)} files in {maps.name} are not used, as their '
            f'images have another label map: {by_stem[beside[0]].name} is one.'
        )
    for stem in unused:
        if stem not in owned:
            faults.add(fault_kinds.MAP_WITHOUT_IMAGE, by_stem[stem])
    return pairs


def usual_ending(stem: str) -> str:
    """A stem with its ending in the usual case, as ``_mask`` for ``_Mask``."""
    for end in (*MAP_ENDINGS, *OTHER_ENDINGS):
        if stem.lower().endswith(end.lower()):
            return stem[: -len(end)] + end
    return stem


def possible_names(stem: str, map_endings: Iterable[str]) -> list[str]:
    """What the label map of an image may be called, best first."""
    stems = [stem, *without_endings(stem, IMAGE_ENDINGS)]
    return stems + [one + end for end in map_endings for one in stems]


def without_endings(stem: str, endings: Iterable[str]) -> list[str]:
    """A stem without each of the endings that it has."""
    return [stem[: -len(end)] for end in endings if stem.endswith(end)]
