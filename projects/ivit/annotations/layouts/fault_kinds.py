# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The kinds of fault that adapters alone find, in reading."""

from ..faults import FaultKind

# Of files and folders.
FOLDER_MISSING = FaultKind(
    'error',
    'folder or list of images is missing',
    'Put it there, or correct the file that names it.',
)
TEST_MISSING = FOLDER_MISSING._replace(
    level='warning', text='folder of the test split is missing'
)
NO_IMAGES = FaultKind(
    'error',
    'folder has no images',
    'Put the images there, or take the split out.',
)

# Of YOLO's label files.
NO_LABEL_FILES = FaultKind(
    'error',
    'none of the images of a split has a label file',
    'Put the label files there: in the path of the image, the last folder '
    '`images` becomes `labels` and the suffix .txt.',
)
LABEL_WITHOUT_IMAGE = FaultKind(
    'warning',
    'label file has no image, and was left out',
    'Put the image there, or remove the label file.',
)
LINE_LENGTH = FaultKind(
    'error',
    'line has a wrong count of numbers',
    'Write `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` for a '
    'polygon of at least 3 points.',
)
NO_NUMBER = FaultKind(
    'error',
    'line has something that is not a number',
    'Write numbers with a point, separated by blanks.',
)
CLASS_INDEX = FaultKind(
    'error',
    'class index is not in `names`',
    'Correct the index (indices start at 0), or add the class to `names`.',
)
OUTSIDE_UNIT = FaultKind(
    'error',
    'coordinate is outside of 0..1',
    'Divide x and width by the width of the image, y and height by its '
    'height.',
)

# Of boxes.
BOX_CLIPPED = FaultKind(
    'warning',
    'object reaches over the border of its image, and was clipped',
    'Correct it if it belongs to another image.',
)
BOX_EMPTY = FaultKind(
    'warning',
    'box has no area within its image, and was left out',
    'Correct its corners, or remove it.',
)

# Of VOC's XML files and lists.
XML_UNREADABLE = FaultKind(
    'error',
    'annotation file is not the XML of VOC',
    'Export it anew, in UTF-8, or remove it with its image.',
)
BOX_UNREADABLE = FaultKind(
    'error',
    'object has no readable name or box',
    'Give it <name> and <bndbox> with numbers for xmin, ymin, xmax, ymax.',
)
BOX_SWAPPED = FaultKind(
    'error',
    'box has its right edge left of its left one, or its lower above its '
    'upper one',
    'Swap xmin and xmax, or ymin and ymax, after a look at the image.',
)
XML_CLASS = FaultKind(
    'error',
    'class of an object is not in the list of classes',
    'Correct the name, or add the class to the list.',
)
XML_SIZE = FaultKind(
    'error',
    'image has not the size that its annotation file gives',
    'Annotate the image that is there, or put back the one that was '
    'annotated.',
)
XML_MISSING = FaultKind(
    'warning',
    'image has no annotation file, and was left out',
    'Annotate it (an image without objects has a file too), or take it out.',
)

# Of label maps.
MAP_MISSING = FaultKind(
    'warning',
    'image has no label map, and was left out',
    'Draw one, or remove the image. The two have the same name but for the '
    'suffix.',
)
MAP_WITHOUT_IMAGE = FaultKind(
    'warning',
    'label map has no image, and was left out',
    'Put the image there, or remove the label map.',
)
MAP_LOSSY = FaultKind(
    'error',
    'label map is a JPEG, which does not keep values',
    'Export the label maps as PNG.',
)

# Of images that no library of ours reads, such as HEIC.
IMAGE_FORMAT = FaultKind(
    'warning',
    'image is of a format that is not read, and was left out',
    'Convert it to JPEG or PNG.',
)

# Of class folders.
CLASS_EMPTY = FaultKind(
    'warning',
    'class folder has no images',
    'Put images there, or remove the folder.',
)
CLASS_UNKNOWN = FaultKind(
    'error',
    'class is not in train',
    'Rename the folder, or put images of the class into train.',
)
IMAGE_WITHOUT_CLASS = FaultKind(
    'warning',
    'image lies in no class folder, and was left out',
    'Move it to the folder of its class.',
)
