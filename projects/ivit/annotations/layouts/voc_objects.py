# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The XML files of Pascal VOC: what one says about its image."""

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from ..faults import Faults
from . import fault_kinds

#: The latter two are of encodings that the parser does not know.
XML_ERRORS = (ET.ParseError, ValueError, LookupError)


@dataclass
class VocObject:
    """An object.

    Attributes:
        name: Its class.
        corners: The edges of its box in pixels: left, top, right, bottom.
        difficult: Whether it is not counted in evaluation.
    """

    name: str
    corners: list[float]
    difficult: bool


@dataclass
class ImageObjects:
    """What a file says.

    Attributes:
        file: The file.
        file_name: The name of the image, without folders.
        folder: The folder that the file names, or an empty string.
        size: Width and height of the image that was annotated, if known.
        objects: The objects on it.
        image: The image, once it was found.
    """

    file: Path
    file_name: str
    folder: str
    size: tuple[int, int] | None
    objects: list[VocObject] = field(default_factory=list)
    image: Path | None = None


def is_voc_file(path: Path) -> bool:
    """Whether an XML file is one of VOC; a broken one counts as such."""
    try:
        with path.open('rb') as file:
            _, element = next(ET.iterparse(file, ('start',)))
    except (*XML_ERRORS, StopIteration):
        return True
    return element.tag == 'annotation'


def read_objects(path: Path, faults: Faults) -> ImageObjects | None:
    """Read a file, or count what is wrong with it."""
    try:
        root = ET.fromstring(path.read_bytes())
    except XML_ERRORS as error:
        faults.add(fault_kinds.XML_UNREADABLE, f'{path}: {error}')
        return None
    if root.tag != 'annotation':
        faults.add(fault_kinds.XML_UNREADABLE, f'{path}: <{root.tag}>')
        return None
    # Some programs write whole paths, of the system that they ran on.
    file_name = PureWindowsPath(read_word(root, 'filename')).name
    size = (read_number(root, 'size/width'), read_number(root, 'size/height'))
    found = ImageObjects(
        path,
        file_name or f'{path.stem}.jpg',
        read_word(root, 'folder'),
        (int(size[0]), int(size[1])) if min(size) >= 1 else None,
    )
    for number, element in enumerate(root.findall('object'), 1):
        name = read_word(element, 'name')
        left, top, right, bottom = (
            read_number(element, f'bndbox/{side}', math.nan)
            for side in ('xmin', 'ymin', 'xmax', 'ymax')
        )
        if not name or not math.isfinite(left + top + right + bottom):
            faults.add(fault_kinds.BOX_UNREADABLE, f'{path}, object {number}')
            continue
        corners = [left - 1, top - 1, right, bottom]
        difficult = read_number(element, 'difficult') > 0
        found.objects.append(VocObject(name, corners, difficult))
    return found


def read_word(element: ET.Element, path: str) -> str:
    """The text of an element within another one; empty if it is not there."""
    return (element.findtext(path) or '').strip()


def read_number(element: ET.Element, path: str, default: float = 0) -> float:
    """The number in an element within another one.

    Args:
        element: The outer one.
        path: The names of the inner ones.
        default: What stands for no number.
    """
    try:
        value = float(read_word(element, path))
    except ValueError:
        return default
    return value if math.isfinite(value) else default
