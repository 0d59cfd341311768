# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Values of a COCO file that can be relied on, whatever is in it."""

from typing import Any, TypeGuard

from .image_files import Size


def is_id(value: object) -> TypeGuard[int | str]:
    """Whether a value can be an id: a whole number or a text."""
    return type(value) in (int, str)


def size_of(image: dict[str, Any]) -> Size | None:
    """Width and height of a COCO image, if it has usable ones."""
    width, height = image.get('width'), image.get('height')
    if type(width) is int and type(height) is int and min(width, height) > 0:
        return width, height
    return None
