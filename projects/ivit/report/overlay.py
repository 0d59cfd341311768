# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""An image with boxes, masks and names drawn on it, as SVG.

The image is embedded as it is and enlarged by the browser; what is drawn on
it are vectors, sharp at any size.
"""

import base64
import mimetypes
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from skimage.measure import approximate_polygon, find_contours

from .samples import Instances

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]  # x, y, width, height

# In pixels of an image of this size.
REFERENCE_SIZE = 128
FONT_SIZE = 5.0
LETTER_WIDTH = 0.56 * FONT_SIZE


def draw_instances(
    path: Path,
    instances: Instances,
    classes: Sequence[str],
    palette: Sequence[Color],
    title: str,
) -> str:
    """Draw objects on an image.

    Args:
        path: The image file, of a kind that browsers show.
        instances: The objects; the first one ends up on top.
        classes: The name of each class.
        palette: The colour of each class, RGB in 0..255.
        title: What the picture is, for those who do not see it.

    Returns:
        An SVG element for an HTML page.
    """
    height, width = instances.masks.shape[1:]
    scale = max(height, width) / REFERENCE_SIZE
    kind = mimetypes.guess_type(path.name)[0] or 'image/jpeg'
    data = base64.b64encode(path.read_bytes()).decode('ascii')
    shapes, labels = [], []
    taken: list[Box] = []
    for i, label in enumerate(instances.labels):
        name = classes[label]
        if instances.scores is not None:
            name = f'{name} {instances.scores[i]:.2f}'
        box = tuple((instances.boxes[i] / scale).tolist())
        place = _place_label(
            box, len(name), taken, width / scale, height / scale
        )
        taken.append(place)
        color = '#{:02x}{:02x}{:02x}'.format(*palette[label])
        shapes.append(_shape(instances.masks[i], scale, box, color))
        labels.append(_label(name, place, color, palette[label]))
    return (
        f'<svg viewBox="0 0 {width / scale:.6g} {height / scale:.6g}" '
        f'role="img" aria-label="{escape(title)}">'
        f'<image href="data:{kind};base64,{data}" width="100%" '
        'height="100%" preserveAspectRatio="none"/>'
        f'{"".join(reversed(shapes))}{"".join(reversed(labels))}</svg>'
    )


def outline(mask: np.ndarray) -> list[np.ndarray]:
    """Closed polygons ``(k, 2)`` of x, y round a mask and its holes."""
    # The border closes what touches it; pixel centres lie at 0.5.
    contours = find_contours(np.pad(mask, 1).astype(float), 0.5)
    return [
        approximate_polygon(contour, 0.3)[:-1, ::-1] - 0.5
        for contour in contours
    ]


def _shape(mask: np.ndarray, scale: float, box: Box, color: str) -> str:
    path = ''.join(
        'M' + 'L'.join(f'{x:.1f},{y:.1f}' for x, y in polygon / scale) + 'Z'
        for polygon in outline(mask)
    )
    x1, y1, x2, y2 = box
    frame = (
        f'x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" '
        f'height="{y2 - y1:.1f}"'
    )
    return (
        f'<path d="{path}" fill="{color}" stroke="{color}"/>'
        f'<rect class="halo" {frame}/><rect {frame} stroke="{color}"/>'
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
    width, height = letters * LETTER_WIDTH + 2, 1.2 * FONT_SIZE
    places = [
        (
            min(max(x, 0), image_width - width),
            min(max(y, 0), image_height - height),
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
