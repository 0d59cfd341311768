# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Kinds of faults of COCO annotations."""

from ..faults import FaultKind

IMAGE_KEY = FaultKind(
    'error',
    'image lacks a key',
    'Each image has id, file_name, width and height.',
)
IMAGE_SIZE = FaultKind(
    'error',
    'width or height of an image is not a positive whole number',
    'Write the size of the stored image in pixels.',
)
FILE_NAME = FaultKind(
    'error',
    'file_name is empty or not a text',
    'Write the path of the image within the folder of images.',
)
ANNOTATION_KEY = FaultKind(
    'error',
    'annotation lacks a key',
    'Each annotation has image_id, category_id and bbox.',
)
COMPUTED_KEY = FaultKind(
    'warning',
    'annotation lacks id, area or iscrowd',
    '`ivit train --data` numbers ids, computes areas and sets iscrowd to 0.',
)
AREA = FaultKind(
    'warning',
    'area of an annotation is not a positive number',
    'It is left out in training. Leave out `area` to have it computed.',
)
CROWD = FaultKind(
    'error',
    'iscrowd is neither 0 nor 1',
    'Write 0 for single objects, which is what it is if left out.',
)
ID_TYPE = FaultKind(
    'error',
    'id is neither a whole number nor a text',
    'Write a whole number.',
)
IMAGE_IDS = FaultKind(
    'error',
    'image id is there more than once',
    'Give each image an id of its own, and its objects that image_id.',
)
FILE_NAMES = FaultKind(
    'error',
    'image file is there more than once',
    'Keep one of the images, with the objects of all.',
)
ANNOTATION_IDS = FaultKind(
    'warning',
    'annotation id is there more than once',
    '`ivit train --data` numbers the annotations anew; mmdet alone stops.',
)
UNKNOWN_IMAGE = FaultKind(
    'error',
    'annotation is of an image that is not there',
    'Correct image_id, also in type (17 is not "17"), or remove it.',
)
UNKNOWN_CATEGORY = FaultKind(
    'error',
    'annotation is of a category that is not there',
    'Correct category_id, also in type (17 is not "17"), or add the category.',
)
CATEGORY_KEY = FaultKind(
    'error', 'category lacks a key', 'Each category has id and name.'
)
CATEGORY_NAME = FaultKind(
    'error',
    'name of a category is empty or not a text',
    'Write a text, a number in quotation marks.',
)
CATEGORY_IDS = FaultKind(
    'error',
    'category id is there more than once',
    'Give each category an id of its own.',
)
CATEGORY_NAMES = FaultKind(
    'warning',
    'category name is there more than once',
    '`ivit train --data` makes them one class; mmdet alone mixes up the '
    'classes. Give each category a name of its own.',
)
UNUSED_CATEGORY = FaultKind(
    'warning',
    'class has no object in a split',
    'Annotate some, or remove the category: what is not there is not learnt '
    'and has no AP.',
)
WITHOUT_OBJECTS = FaultKind(
    'warning',
    'image has no object',
    'See that it was annotated. Most configs leave it out in training.',
)
NO_OBJECTS = FaultKind(
    'error',
    'training split has no object',
    'See that the file is the one with the annotations.',
)
NO_OBJECTS_EVALUATED = FaultKind(
    'warning',
    'split has no object to evaluate with',
    'See that the file is the one with the annotations.',
)
ONLY_CROWDS = FaultKind(
    'warning',
    'all objects of a split are crowds',
    'Write iscrowd = 0 for single objects: crowds are not learnt.',
)
