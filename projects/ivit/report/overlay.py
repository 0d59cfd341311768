# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""An image with boxes, masks and names, or a label map, drawn on it, as SVG.

The image is embedded and enlarged by the browser; boxes, masks and names are
vectors, sharp at any size.
"""

import base64
import io
import mimetypes
import unicodedata
from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from skimage.measure import approximate_polygon, find_contours

if TYPE_CHECKING:
    from .instances import Instances

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]  # x, y, width, height

# In pixels of an image of this size.
REFERENCE_SIZE = 128
FONT_SIZE = 5.0
LETTER_WIDTH = 0.56 * FONT_SIZE
LONGEST_NAME = 18
#: Larger images are embedded smaller, in pixels of the longer side.
LARGEST_IMAGE = 640
SHOWN_BY_BROWSERS = ('.jpg', '.jpeg', '.png', '.webp', '.gif')
MAP_OPACITY = 0.6


def draw_instances(
    path: Path,
    size: tuple[int, int],
    instances: 'Instances',
    classes: Sequence[str],
    palette: Sequence[Color],
    title: str,
    wrong: Collection[int] = (),
) -> str:
    """Draw objects on an image.

    Args:
        path: The image file.
        size: Its height and width in pixels.
        instances: The objects; the first one ends up on top.
        classes: The name of each class.
        palette: The colour of each class, RGB in 0..255.
        title: What the picture is, for those who do not see it.
        wrong: The numbers of the objects whose boxes are dashed.

    Returns:
        An SVG element for an HTML page.
    """
    height, width = size
    scale = max(height, width) / REFERENCE_SIZE
    shapes, labels = [], []
    taken: list[Box] = []
    for i, label in enumerate(instances.labels):
        name = _shorten(classes[label])
        if instances.scores is not None:
            name = f'{name} {instances.scores[i]:.2f}'
        box = tuple((instances.boxes[i] / scale).tolist())
        place = _place_label(
            box, _count_cells(name), taken, width / scale, height / scale
        )
        taken.append(place)
        color = '#{:02x}{:02x}{:02x}'.format(*palette[label])
        frame = _frame(box, color, dashed=i in wrong)
        if instances.masks is not None:
            frame = _fill(instances.masks[i], scale, color) + frame
        shapes.append(frame)
        labels.append(_label(name, place, color, palette[label]))
    return _picture(path, size, title, [*reversed(shapes), *reversed(labels)])


def draw_label_map(
    path: Path,
    label_map: np.ndarray,
    palette: Sequence[Color],
    title: str,
) -> str:
    """Lay the colours of classes over an image.

    Args:
        path: The image file.
        label_map: ``(H, W)`` class numbers. Where it has another number, or
            a class that is black, the image stays as it is.
        palette: The colour of each class, RGB in 0..255.
        title: What the picture is, for those who do not see it.

    Returns:
        An SVG element for an HTML page.
    """
    known = (label_map >= 0) & (label_map < len(palette))
    rgba = np.zeros((*label_map.shape, 4), np.uint8)
    rgba[known, :3] = np.array(palette, np.uint8)[label_map[known]]
    rgba[rgba.any(-1), 3] = round(255 * MAP_OPACITY)
    layer = Image.fromarray(rgba)
    layer.thumbnail((LARGEST_IMAGE,) * 2, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    layer.save(buffer, 'PNG')
    overlay = _image_element(_as_link('image/png', buffer.getvalue()))
    return _picture(
        path,
        label_map.shape,
        title,
        [overlay.replace('<image', '<image class="map"')],
    )


def draw_image(path: Path, title: str) -> str:
    """An image as an SVG element, without anything on it."""
    with Image.open(path) as image:
        width, height = ImageOps.exif_transpose(image).size
    return _picture(path, (height, width), title, [])


def embed_image(path: Path) -> str:
    """An image file as a link that has its content.

    A file that is large, or of a kind that browsers do not show, becomes a
    smaller JPEG.
    """
    with Image.open(path) as image:
        known = path.suffix.lower() in SHOWN_BY_BROWSERS
        if known and max(image.size) <= LARGEST_IMAGE:
            kind = mimetypes.guess_type(path.name)[0] or 'image/jpeg'
            return _as_link(kind, path.read_bytes())
        image.draft('RGB', (2 * LARGEST_IMAGE,) * 2)
        small = ImageOps.exif_transpose(image)
    if small.mode.startswith(('I', 'F')):  # more than 8 bits
        values = np.asarray(small, float)
        values = 255 * (values - values.min()) / max(np.ptp(values), 1)
        small = Image.fromarray(values.astype(np.uint8))
    small = small.convert('RGB')
    small.thumbnail((LARGEST_IMAGE,) * 2)
    buffer = io.BytesIO()
    small.save(buffer, 'JPEG', quality=85)
    return _as_link('image/jpeg', buffer.getvalue())


def outline(mask: np.ndarray, tolerance: float = 0.3) -> list[np.ndarray]:
    """Closed polygons ``(k, 2)`` of x, y round a mask and its holes.

    Args:
        mask: ``(H, W)`` bool.
        tolerance: How far from the mask's border they may run, in pixels.
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return []
    top, left = rows[0], columns[0]
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    # The border closes what touches it; pixel centres lie at 0.5.
    contours = find_contours(np.pad(part, 1).astype(float), 0.5)
    return [
        approximate_polygon(contour, tolerance)[:-1, ::-1]
        + (left - 0.5, top - 0.5)
        for contour in contours
    ]


def _picture(
    path: Path, size: tuple[int, ...], title: str, layers: Sequence[str]
) -> str:
    """An image with what is drawn on it."""
    height, width = size
    scale = max(height, width) / REFERENCE_SIZE
    return (
        f'<svg viewBox="0 0 {width / scale:.6g} {height / scale:.6g}" '
        f'role="img" aria-label="{escape(title)}">'
        f'{_image_element(embed_image(path))}{"".join(layers)}</svg>'
    )


def _image_element(link: str) -> str:
    return (
        f'<image href="{link}" width="100%" height="100%" '
        'preserveAspectRatio="none"/>'
    )


def _as_link(kind: str, content: bytes) -> str:
    return f'data:{kind};base64,{base64.b64encode(content).decode("ascii")}'


def _fill(mask: dict[str, Any], scale: float, color: str) -> str:
    polygons = outline(
        coco_mask.decode(mask).astype(bool), 0.3 * max(1, scale)
    )
    path = ''.join(
        'M' + 'L'.join(f'{x:.1f},{y:.1f}' for x, y in polygon / scale) + 'Z'
        for polygon in polygons
    )
    return f'<path d="{path}" fill="{color}" stroke="{color}"/>'


def _frame(box: Box, color: str, dashed: bool) -> str:
    x1, y1, x2, y2 = box
    frame = (
        f'x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" '
        f'height="{y2 - y1:.1f}"'
    )
    dashes = ' stroke-dasharray="3 2"' if dashed else ''
    return (
        f'<rect class="halo" {frame}/><rect {frame} stroke="{color}"{dashes}/>'
    )


def _shorten(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    return f'{name[: LONGEST_NAME - 1]}…'


def _count_cells(text: str) -> int:
    """How many Latin letters a text is as wide as."""
    return sum(
        0
        if unicodedata.combining(letter)
        else 2
        if unicodedata.east_asian_width(letter) in 'WF'
        else 1
        for letter in text
    )


def _label(name: str, place: Box, color: str, rgb: Color) -> str:
    x, y, width, height = place
    luminance = np.dot(rgb, (0.299, 0.587, 0.114))
    ink = '#000' if luminance > 120 else '#fff'
    return (
        f'<rect class="tag" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" fill="{color}"/>'
        f'<text x="{x + 1:.1f}" y="{y + 0.77 * height:.1f}" '
        f'textLength="{width - 2:.1f}" lengthAdjust="spacingAndGlyphs" '
        f'fill="{ink}">{escape(name)}</text>'
    )


def _place_label(
    box: Box,
    letters: int,
    taken: Sequence[Box],
    image_width: float,
    image_height: float,
) -> Box:
    """Where at a box a label hides the least of the labels before it."""
    x1, y1, x2, y2 = box
    width = min(letters * LETTER_WIDTH + 2, image_width)
    height = 1.2 * FONT_SIZE
    places = [
        (
            max(min(x, image_width - width), 0),
            max(min(y, image_height - height), 0),
            width,
            height,
        )
        for y in (y1 - height, y2, y1, y2 - height)
        for x in (x1, x2 - width)
    ]
    return min(
        places, key=lambda place: sum(_overlap(place, one) for one in taken)
    )


def _overlap(a: Box, b: Box) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)
