# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Files that name the classes of a data set."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..records import Color
from .folders import read_lines, read_text

#: Such files, the first one that is there is taken.
LABEL_MAP = 'labelmap.txt'
NAME_FILES = (
    LABEL_MAP,
    'classes.txt',
    'labels.txt',
    'class_names.txt',  # of labelme
    'classes.json',
    'objectInfo150.txt',  # of ADE20K
)

_NAME_AND_COLOR = re.compile(r'(.+?)[\s,;:]+(\d+)[\s,;]+(\d+)[\s,;]+(\d+)')
_INDEX_AND_NAME = re.compile(r'(\d+)[\s,;:]+(.*\S)')


@dataclass
class ClassNames:
    """What a file says about classes.

    Attributes:
        file: The file.
        names: The names in its order.
        indices: The numbers that label maps store for them, if it has any.
        colors: Their colours, if it has any.
    """

    file: Path
    names: list[str]
    indices: list[int] | None = None
    colors: list[Color] | None = None

    def __post_init__(self) -> None:
        """Check that all is there, and there once.

        Raises:
            ValueError: If not.
        """
        if not self.names or '' in self.names:
            raise ValueError(
                f'{self.file} has no names, or an empty one; write a name for '
                'each class'
            )
        for title, values in (
            ('the name', self.names),
            ('the number', self.indices or []),
            ('the colour', self.colors or []),
        ):
            first = first_repeated(values)
            if first is not None:
                raise ValueError(
                    f'{self.file} has {title} {first!r} twice; give each '
                    'class its own'
                )
        for color in self.colors or []:
            if len(color) != 3 or not all(0 <= part <= 255 for part in color):
                raise ValueError(
                    f'{self.file} has the colour {color!r}; a colour is '
                    'three numbers from 0 to 255'
                )


def first_repeated(values: Sequence[Any]) -> Any:
    """The first value that is there more than once, or None."""
    return next(
        (value for i, value in enumerate(values) if value in values[:i]), None
    )


def find_class_names(root: Path) -> ClassNames | None:
    """Read the file that names the classes, if there is one.

    Args:
        root: The data's folder.

    Raises:
        ValueError: If the file cannot be used.
    """
    for name in NAME_FILES:
        path = root / name
        if path.is_file():
            if path.suffix == '.json':
                return read_json_names(path)
            lines = read_lines(path)
            if name == LABEL_MAP:
                return read_label_map_names(path, lines)
            return read_plain_names(path, lines)
    return None


def read_label_map_names(path: Path, lines: Sequence[str]) -> ClassNames:
    """Read CVAT's lines ``name:r,g,b:parts:actions``.

    Files in which lines have no colon are read as names.
    """
    lines = [line for line in lines if not line.startswith('#')]
    if not any(':' in line for line in lines):
        return read_plain_names(path, lines)
    names, colors = [], []
    for line in lines:
        name, *rest = line.split(':')
        names.append(name.strip())
        color = read_color(rest[0]) if rest else None
        if color is not None:
            colors.append(color)
    if colors and len(colors) < len(names):
        raise ValueError(
            f'{path} has colours for {len(colors)} of {len(names)} classes; '
            'write `name:r,g,b::` for all, or for none'
        )
    return ClassNames(path, names, colors=colors or None)


def read_plain_names(path: Path, lines: Sequence[str]) -> ClassNames:
    """Read lines ``name``, ``number name`` or ``name r g b``.

    Which of them holds for all lines or for none. ADE20K's table has the
    number first and the name last, in columns. The line ``__ignore__`` of
    labelme stands for pixels that are left out.
    """
    if path.name == 'objectInfo150.txt':
        rows = [line.split('\t') for line in lines[1:]]
        lines = [f'{row[0]} {row[-1]}' for row in rows]
    lines = [line for line in lines if line != '__ignore__']
    colored = [_NAME_AND_COLOR.fullmatch(line) for line in lines]
    colors: list[Color] | None = None
    if all(colored):
        matches = [match for match in colored if match]
        colors = [to_color(match.groups()[1:]) for match in matches]
        lines = [match[1].strip() for match in matches]
    numbered = [_INDEX_AND_NAME.fullmatch(line) for line in lines]
    indices: list[int] | None = None
    # Names such as "1 cent" and "2 cent" begin with a number too.
    if all(numbered) and first_repeated([m[2] for m in numbered if m]) is None:
        matches = [match for match in numbered if match]
        indices = [int(match[1]) for match in matches]
        lines = [match[2] for match in matches]
    return ClassNames(path, list(lines), indices, colors)


def read_json_names(path: Path) -> ClassNames:
    """Read a JSON file of classes.

    It is a list of names; a mapping between numbers and names, or from names
    to colours; or a list of mappings with ``name`` and, if at all, ``id`` and
    ``color``. Any of these may be under ``classes``.
    """
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f'{path} is no JSON: {error}') from None
    if isinstance(content, dict) and 'classes' in content:
        content = content['classes']
    if isinstance(content, dict):
        content = [entry_of_pair(*pair) for pair in content.items()]
    elif isinstance(content, list) and content:
        content = [
            dict(name=entry) if isinstance(entry, str) else entry
            for entry in content
        ]
    try:
        names = [str(entry['name']) for entry in content]
        numbers = [int(entry['id']) for entry in content if 'id' in entry]
        colors = [
            to_color(entry['color']) for entry in content if 'color' in entry
        ]
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f'{path} has not the form of names; write a list of names, or '
            '{"number": "name", ...}, or {"name": [r, g, b], ...}'
        ) from None
    for found in (numbers, colors):
        if found and len(found) < len(names):
            raise ValueError(
                f'{path} has a number or colour for some classes only; write '
                'it for all, or for none'
            )
    return ClassNames(path, names, numbers or None, colors or None)


def entry_of_pair(key: str, value: Any) -> dict[str, Any]:
    """A class from a key and its value in a JSON file."""
    if isinstance(value, str) and not value.startswith('#'):
        return dict(id=key, name=value)
    if isinstance(value, int):
        return dict(id=value, name=key)
    return dict(name=key, color=value)


def read_color(text: str) -> Color | None:
    """A colour from ``r,g,b``, or None."""
    parts = text.split(',')
    if len(parts) == 3 and all(part.strip().isdecimal() for part in parts):
        return to_color(parts)
    return None


def to_color(value: str | Sequence[str | int]) -> Color:
    """A colour from three numbers or from ``#rrggbb``."""
    if isinstance(value, str):
        value = list(bytes.fromhex(value.lstrip('#')))
    red, green, blue = map(int, value)
    return red, green, blue


def voc_color(index: int) -> Color:
    """The colour of a class in Pascal VOC.

    The bits of the index go to red, green and blue in turns, the lowest ones
    to the highest bits of the colour.
    """
    parts = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            parts[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return parts[0], parts[1], parts[2]


VOC_NAMES = (
    'background',
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'diningtable',
    'dog',
    'horse',
    'motorbike',
    'person',
    'pottedplant',
    'sheep',
    'sofa',
    'train',
    'tvmonitor',
)
