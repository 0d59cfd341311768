# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""COCO annotations in the form that mmdet and pycocotools rely on."""

from collections.abc import Sequence
from typing import Any

from pycocotools import mask as coco_mask

Coco = dict[str, Any]


def complete(coco: Coco, classes: Sequence[str]) -> tuple[Coco, list[str]]:
    """Make good what mmdet and pycocotools need and files often lack.

    Labels are indices into the categories in the order of the file, so the
    categories have to be the classes, in their order. Every annotation needs
    an id of its own, an area and ``iscrowd``.

    Args:
        coco: Content of a COCO json that :func:`ivit.annotations.check` finds
            no error in; it is not changed.
        classes: The classes, in the order of their labels.

    Returns:
        The content, the same object if nothing was wanting, and what was
        changed, in words.
    """
    changes = []
    new_ids = _new_category_ids(coco, classes)
    if new_ids is not None:
        changes.append('categories in the order of the classes')
    annotations = coco['annotations']
    ids = {a.get('id') for a in annotations}
    renumber = len(ids) < len(annotations) or None in ids
    if renumber:
        changes.append('ids of annotations')
    if any('area' not in a for a in annotations):
        changes.append('areas')
    if any('iscrowd' not in a for a in annotations):
        changes.append('iscrowd = 0')
    if not changes:
        return coco, changes
    sizes = {
        image['id']: (image.get('height'), image.get('width'))
        for image in coco['images']
    }
    completed = []
    for number, annotation in enumerate(annotations, 1):
        category = annotation['category_id']
        if new_ids is not None:
            if category not in new_ids:  # no class of ours
                continue
            category = new_ids[category]
        annotation = dict(iscrowd=0) | annotation | dict(category_id=category)
        if renumber:
            annotation['id'] = number
        if 'area' not in annotation:
            size = sizes[annotation['image_id']]
            annotation['area'] = _area(annotation, size)
        completed.append(annotation)
    categories = coco['categories']
    if new_ids is not None:
        categories = [
            dict(id=i, name=name) for i, name in enumerate(classes, 1)
        ]
    return coco | dict(annotations=completed, categories=categories), changes


def _new_category_ids(
    coco: Coco, classes: Sequence[str]
) -> dict[int, int] | None:
    """Ids of categories in the order of the classes; None if they are so."""
    names = [str(category['name']) for category in coco['categories']]
    if [name for name in names if name in classes] == list(classes):
        return None
    return {
        category['id']: classes.index(str(category['name'])) + 1
        for category in coco['categories']
        if str(category['name']) in classes
    }


def _area(annotation: dict[str, Any], size: tuple[int, int]) -> float:
    """The area of an object: of its mask, if it has one, or of its box."""
    segmentation = annotation.get('segmentation')
    if not segmentation:
        return float(annotation['bbox'][2] * annotation['bbox'][3])
    if isinstance(segmentation, dict) and isinstance(
        segmentation['counts'], str
    ):
        return float(coco_mask.area(segmentation))
    encoded = coco_mask.frPyObjects(segmentation, *size)
    if isinstance(encoded, list):
        encoded = coco_mask.merge(encoded)
    return float(coco_mask.area(encoded))
