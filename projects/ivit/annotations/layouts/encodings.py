# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Decide what the values in label maps mean."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .. import file_faults
from ..faults import Faults
from ..label_maps import IGNORED, Color, LabelEncoding
from .class_names import ClassNames
from .stored_values import StoredValues

#: The colour of Pascal VOC for pixels that are left out.
VOID_COLOR = (224, 224, 192)
#: Indices are bytes, and 255 is for pixels that are left out.
MAX_CLASSES = 255


@dataclass
class Meaning:
    """What the values in label maps mean.

    Attributes:
        classes: Names of the classes.
        encoding: The classes of the values.
        notes: What was decided, in sentences.
        palette: A colour for each class, if there is any.
    """

    classes: list[str]
    encoding: LabelEncoding
    notes: list[str] = field(default_factory=list)
    palette: list[Color] | None = None


def decide_meaning(
    stored: StoredValues, names: ClassNames | None, faults: Faults
) -> Meaning:
    """Decide it from the values found and the names given.

    Args:
        stored: What the label maps store.
        names: The classes, if a file names them.
        faults: Where to count values that have no class.

    Raises:
        ValueError: If the values are too many, or cannot be told apart.
    """
    found = stored.numbers if stored.colors is None else stored.colors
    if not found:
        raise ValueError(
            'no label map can be read: '
            + ' '.join(str(fault) for fault in faults)
        )
    if names is not None and len(names.names) > MAX_CLASSES:
        raise ValueError(
            f'{names.file} has {len(names.names)} names; {MAX_CLASSES} '
            'classes are the most that label maps of 8 bits can have'
        )
    if stored.colors is None:
        meaning = decide_numbers(stored.numbers, names)
        meaning.palette = class_palette(stored, meaning.encoding)
    elif names is not None and names.colors:
        meaning = decide_colors(names.colors, names.names, stored.colors)
    elif all(len(set(color)) == 1 for color in stored.colors):
        grays = {color[0]: path for color, path in stored.colors.items()}
        meaning = decide_numbers(grays, names)
        meaning.encoding = LabelEncoding(
            colors={
                (value, value, value): index
                for value, index in meaning.encoding.values.items()
            }
        )
        meaning.notes.append(
            'Label maps store their numbers in three equal channels.'
        )
    elif names is not None:
        raise ValueError(
            f'{names.file} has no colours, and label maps such as '
            f'{next(iter(stored.colors.values()))} store colours '
            f'({brief(stored.colors)}); write `name r g b` in each line'
        )
    else:
        meaning = count_colors(stored.colors)
    if names is not None and names.colors and meaning.classes == names.names:
        meaning.palette = names.colors
    if stored.is_partial:
        meaning.notes.append(
            f'Values were read from {stored.read} of {stored.total} label '
            'maps.'
        )
    count_unknown(stored, meaning.encoding, faults)
    return meaning


def decide_numbers(
    found: Mapping[int, Path], names: ClassNames | None
) -> Meaning:
    """Decide the meaning of numbers."""
    counted = sorted(set(found) - {IGNORED})
    is_binary = IGNORED in found and counted in ([], [0])
    if is_binary and (
        names is None or (names.indices is None and len(names.names) <= 2)
    ):
        return decide_binary(names)
    values = {IGNORED: IGNORED}
    notes = []
    if names is None:
        check_count(counted, found)
        classes = [f'class {value}' for value in counted]
        values |= {value: index for index, value in enumerate(counted)}
        notes.append(
            f'No file names the classes; {len(classes)} are counted from '
            f'the values of label maps: {brief(counted)}.'
        )
    elif names.indices is not None:
        classes = names.names
        if 0 in found and 0 not in names.indices:
            values[0] = IGNORED
            notes.append(
                f'0 in label maps is ignored: {names.file.name} does not '
                'name it.'
            )
        values |= {value: i for i, value in enumerate(names.indices)}
    else:
        classes = names.names
        if 0 in found and counted[-1] == len(classes):
            values[0] = IGNORED
            values |= {i + 1: i for i in range(len(classes))}
            notes.append(
                f'0 in label maps is ignored, and 1 is {classes[0]!r}: '
                f'{names.file.name} has one name less than they have values.'
            )
        else:
            values |= {i: i for i in range(len(classes))}
            notes.append(f'0 in label maps is {classes[0]!r}.')
    if values[IGNORED] == IGNORED and IGNORED in found:
        notes.append('255 in label maps is ignored.')
    return Meaning(classes, LabelEncoding(values), notes)


def decide_binary(names: ClassNames | None) -> Meaning:
    """The meaning of 0 and 255 alone."""
    classes = ['background', 'foreground']
    if names is not None:
        classes = [*classes[: 2 - len(names.names)], *names.names]
    return Meaning(
        classes,
        LabelEncoding({0: 0, 255: 1}),
        [
            f'Label maps have 0 and 255 alone: 0 is {classes[0]!r}, 255 is '
            f'{classes[1]!r}.'
        ],
    )


def decide_colors(
    colors: Iterable[Color], classes: list[str], found: Iterable[Color]
) -> Meaning:
    """The meaning of colours that are given."""
    table = {VOID_COLOR: IGNORED}
    table |= {color: index for index, color in enumerate(colors)}
    notes = []
    if VOID_COLOR in found and table[VOID_COLOR] == IGNORED:
        notes.append(f'The colour {VOID_COLOR} in label maps is ignored.')
    return Meaning(
        classes, LabelEncoding(colors=table), notes, palette=list(colors)
    )


def count_colors(found: Mapping[Color, Path]) -> Meaning:
    """The meaning of colours that no file names."""
    colors = sorted(set(found) - {VOID_COLOR})
    check_count(colors, found)
    classes = [f'class {index}' for index in range(len(colors))]
    meaning = decide_colors(colors, classes, found)
    meaning.notes.append(
        f'No file names the classes; {len(classes)} are counted from the '
        f'colours of label maps, in this order: {brief(colors)}.'
    )
    return meaning


def check_count(counted: list, found: Mapping) -> None:
    """Refuse more values than there can be classes.

    Raises:
        ValueError: If there are more.
    """
    if len(counted) > MAX_CLASSES:
        raise ValueError(
            f'label maps such as {next(iter(found.values()))} have more '
            f'than {MAX_CLASSES} different values ({brief(counted)}), so '
            'they do not store classes. Export them as PNG without smooth '
            'edges, a value a class'
        )


def count_unknown(
    stored: StoredValues, encoding: LabelEncoding, faults: Faults
) -> None:
    """Count label maps with values that have no class among the faults."""
    found: Mapping = stored.numbers
    table: Mapping = encoding.values
    if stored.colors is not None:
        found, table = stored.colors, encoding.colors or {}
    for value, path in found.items():
        if value not in table:
            faults.add(file_faults.MAP_VALUES, f'{path}: {value}', path)


def class_palette(
    stored: StoredValues, encoding: LabelEncoding
) -> list[Color] | None:
    """The colours that the files' own palette has for the classes.

    Palettes of shades of grey, and such as end too early, show nothing.
    """
    by_class = {i: v for v, i in encoding.values.items() if i != IGNORED}
    palette = stored.palette or []
    if max(by_class.values()) >= len(palette):
        return None
    colors = [palette[by_class[index]] for index in sorted(by_class)]
    has_hues = any(len(set(color)) > 1 for color in colors)
    return colors if has_hues else None


def brief(values: Iterable) -> str:
    """The first few values, for messages."""
    listed = [str(value) for value in values]
    return ', '.join(listed[:8]) + (', ...' if len(listed) > 8 else '')
