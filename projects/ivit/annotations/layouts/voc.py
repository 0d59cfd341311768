# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Pascal VOC: boxes in XML files, classes of pixels in images.

There are two layouts: :data:`BOXES` for detection, with an XML file an image
in ``Annotations/`` or, as Roboflow writes it, beside the images; and
:data:`MASKS` for segmentation, with a label map an image in
``SegmentationClass/``. A folder may have both.

The corners of boxes are pixels, counted from 1, that belong to the object. As
the edges of a COCO box, xmin and ymin are therefore one less, and xmax and
ymax as they are.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .. import file_faults
from ..faults import Faults
from ..files import IMAGE_SUFFIXES, walk_files
from ..image_files import read_head
from ..records import (
    AnnotatedData,
    SegmentationSplit,
    Split,
)
from . import fault_kinds
from .class_names import VOC_NAMES, ClassNames, find_class_names, voc_color
from .coco_builder import CocoBuilder
from .encodings import decide_meaning
from .folders import (
    SPLIT_NAMES,
    common_folder,
    find_child,
    first_file,
    images_by_stem,
    list_folders,
    require_train,
    stem_within,
)
from .layout import Layout
from .stored_values import read_values
from .voc_objects import ImageObjects, is_voc_file, read_objects
from .voc_sets import read_sets

XML_FOLDERS = ('annotations',)
IMAGE_FOLDERS = ('jpegimages', 'images')
MAP_FOLDERS = ('segmentationclass', 'segmentationclasspng')
MAP_SUFFIXES = ('.png',)


def find_boxes(root: Path) -> str | None:
    """Look for an XML file in Annotations, or beside images."""
    for folder in (
        find_child(root, XML_FOLDERS),
        find_child(root, SPLIT_NAMES['train']),
        find_xml_folder(root),
    ):
        if folder is not None and has_xml(folder):
            return (folder.relative_to(root) / '*.xml').as_posix()
    return None


def find_xml_folder(root: Path) -> Path | None:
    """The folder of XML files, if they are not in folders of splits."""
    folder = find_child(root, XML_FOLDERS)
    if folder is not None and has_xml(folder):
        return folder
    train = find_child(root, SPLIT_NAMES['train'])
    if train is not None and has_xml(train):
        return None
    # Some programs write them beside the images.
    for folder in (find_child(root, IMAGE_FOLDERS), root):
        if folder is not None and first_file(folder, ('.xml',)) is not None:
            return folder
    return None


def read_boxes(root: Path) -> AnnotatedData:
    """Read images with boxes.

    Raises:
        ValueError: If there is nothing to train on, or a list is not UTF-8.
    """
    notes: list[str] = []
    faults = Faults()
    folder = find_xml_folder(root)
    if folder is not None:
        images = ImageFolder(find_child(root, IMAGE_FOLDERS) or folder)
        files = xml_by_stem(folder)
        sets = read_sets(find_lists(root, 'Main'), files, notes)
        if not sets:
            sets = {'train': sorted(files)}
            add_unannotated(images, files, faults)
        read = {
            split: read_all(root, images, files, stems, faults)
            for split, stems in sets.items()
        }
    else:
        read = {}
        for split, names in SPLIT_NAMES.items():
            images = ImageFolder(find_child(root, names) or root / split)
            files = xml_by_stem(images.path)
            add_unannotated(images, files, faults)
            read[split] = read_all(root, images, files, sorted(files), faults)
    classes = choose_classes(root, read, notes, faults)
    splits: dict[str, Split] = {}
    for split, found in read.items():
        builder = CocoBuilder(classes, faults)
        for one in found:
            add_objects(one, classes, builder)
        if builder.paths:
            splits[split] = builder.build()
    require_train(root, splits, faults)
    difficult = sum(
        objects.difficult
        for found in read.values()
        for one in found
        for objects in one.objects
    )
    if difficult:
        # mmdet drops objects with `ignore` in training, so that their place
        # is learnt as background, and pycocotools does not know the entry.
        notes.append(
            f'{difficult} objects are marked as difficult: they are ignored '
            'in training and in evaluation (`iscrowd` of COCO).'
        )
    return AnnotatedData(
        root=root,
        layout=BOXES.name,
        task=BOXES.task,
        classes=tuple(classes),
        splits=splits,
        notes=notes,
        faults=faults,
    )


def find_masks(root: Path) -> str | None:
    """Look for label maps in SegmentationClass."""
    folder = find_map_folder(root)
    return None if folder is None else f'{folder.name}/*.png'


def read_masks(root: Path) -> AnnotatedData:
    """Read images with label maps.

    Raises:
        ValueError: If there is nothing to train on, if a list is not UTF-8,
            or if the label maps do not store classes.
    """
    notes: list[str] = []
    faults = Faults()
    map_folder = find_map_folder(root) or root / 'SegmentationClass'
    maps = {
        stem: path
        for stem, path in images_by_stem(map_folder).items()
        if path.suffix.lower() in MAP_SUFFIXES
    }
    images = images_by_stem(find_child(root, IMAGE_FOLDERS) or root / 'none')
    sets = read_sets(find_lists(root, 'Segmentation'), maps, notes)
    sets = sets or {'train': sorted({**maps, **images})}
    splits: dict[str, Split] = {}
    pairs: list[tuple[Path, Path]] = []
    for split, stems in sets.items():
        found = []
        for stem in stems:
            if stem not in images:
                faults.add(file_faults.IMAGE_MISSING, f'{stem} of {split}')
            elif stem not in maps:
                faults.add(fault_kinds.MAP_MISSING, images[stem])
            else:
                found.append((images[stem], maps[stem]))
        if found:
            folder = common_folder(image for image, _ in found)
            splits[split] = SegmentationSplit(folder, found)
            pairs += found
    require_train(root, splits, faults)
    names = find_class_names(root)
    if names is None:
        names = ClassNames(map_folder, list(VOC_NAMES))
        notes.append("No file names the classes; they are Pascal VOC's 21.")
    count = len(names.names)
    names.indices = names.indices or list(range(count))
    names.colors = names.colors or [voc_color(i) for i in range(count)]
    meaning = decide_meaning(read_values(pairs, faults), names, faults)
    return AnnotatedData(
        root=root,
        layout=MASKS.name,
        task=MASKS.task,
        classes=tuple(meaning.classes),
        splits=splits,
        palette=meaning.palette,
        encoding=meaning.encoding,
        notes=notes + meaning.notes,
        faults=faults,
    )


BOXES = Layout(
    name='Pascal VOC',
    task='detection',
    wants='Annotations/*.xml and JPEGImages/ (with lists in '
    'ImageSets/Main/, if any); or an .xml beside each image, in '
    'train/ and valid/ or in the folder itself',
    find=find_boxes,
    read=read_boxes,
)
MASKS = Layout(
    name='Pascal VOC segmentation',
    task='segmentation',
    wants='SegmentationClass/*.png and JPEGImages/ (with lists in '
    'ImageSets/Segmentation/ and labelmap.txt, if any)',
    find=find_masks,
    read=read_masks,
)


def find_lists(root: Path, name: str) -> Path:
    """The folder of lists: a sub folder of ImageSets or that itself."""
    folder = root / 'ImageSets'
    is_bare = first_file(folder, ('.txt',)) and not (folder / name).is_dir()
    return folder if is_bare else folder / name


def find_map_folder(root: Path) -> Path | None:
    """The folder of label maps, if it has any."""
    for name in MAP_FOLDERS:
        folder = find_child(root, (name,))
        if folder is not None and any(
            first_file(place, MAP_SUFFIXES)
            for place in (folder, *list_folders(folder)[:1])
        ):
            return folder
    return None


def has_xml(folder: Path) -> bool:
    """Whether a folder, or the first one in it, has an XML file of VOC.

    CVAT keeps the sub folders that images have.
    """
    files = (
        first_file(place, ('.xml',))
        for place in (folder, *list_folders(folder)[:1])
    )
    return any(file is not None and is_voc_file(file) for file in files)


class ImageFolder:
    """A folder of images.

    Args:
        path: The folder.

    Attributes:
        by_stem: The images, at any depth, by their path without suffix.
        by_name: Those whose name is there once, by it without suffix.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.by_stem = images_by_stem(path)
        counts = Counter(image.stem for image in self.by_stem.values())
        self.by_name = {
            image.stem: image
            for image in self.by_stem.values()
            if counts[image.stem] == 1
        }


def xml_by_stem(folder: Path) -> dict[str, Path]:
    """XML files in a folder, at any depth, by their path without suffix."""
    return {
        stem_within(path, folder): path
        for path in walk_files(folder, ('.xml',))
    }


def add_unannotated(
    images: ImageFolder, files: dict[str, Path], faults: Faults
) -> None:
    """Count images without an XML file, where no list says what belongs."""
    named = {Path(stem).name for stem in files}
    for stem, path in images.by_stem.items():
        if Path(stem).name not in named:
            faults.add(fault_kinds.XML_MISSING, path)


def read_all(
    root: Path,
    images: ImageFolder,
    files: dict[str, Path],
    stems: Sequence[str],
    faults: Faults,
) -> list[ImageObjects]:
    """Read the XML files of a split and find their images."""
    read = []
    for stem in stems:
        if stem not in files:
            faults.add(fault_kinds.XML_MISSING, images.by_stem.get(stem, stem))
            continue
        one = read_objects(files[stem], faults)
        if one is None:
            continue
        candidates = [
            images.by_stem.get(stem, images.path / one.file_name),
            images.path / one.file_name,
            root / one.folder / one.file_name,
            one.file.parent / one.file_name,
        ]
        if one.file.stem in images.by_name:
            candidates.append(images.by_name[one.file.stem])
        one.image = next((p for p in candidates if is_image(p)), None)
        if one.image is None:
            faults.add(
                file_faults.IMAGE_MISSING,
                f'{candidates[0]}, of {one.file}',
            )
            continue
        read.append(one)
    return read


def is_image(path: Path) -> bool:
    """Whether a file is there and called an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()


def choose_classes(
    root: Path,
    read: dict[str, list[ImageObjects]],
    notes: list[str],
    faults: Faults,
) -> list[str]:
    """The names of a file, or else those of all objects, sorted.

    Raises:
        ValueError: If there are none.
    """
    used = {
        objects.name
        for found in read.values()
        for one in found
        for objects in one.objects
    }
    named = find_class_names(root)
    if named is not None:
        # CVAT's lists have a background, which is no class of objects.
        return [n for n in named.names if n != 'background' or n in used]
    if not used:
        raise ValueError(
            f'{root}: no XML file has a readable object with its image; '
            'labels.txt can name the classes, a name a line. '
            + ' '.join(str(fault) for fault in faults)
        )
    notes.append('Classes are in the order of their names.')
    return sorted(used)


def add_objects(
    one: ImageObjects, classes: list[str], builder: CocoBuilder
) -> None:
    """Add an image and its objects."""
    faults = builder.faults
    if one.image is None:
        return
    try:
        head = read_head(one.image, look_at_end=False)
    except OSError as error:
        faults.add(file_faults.IMAGE_UNREADABLE, error, one.image)
        return
    size = head.size
    if one.size == head.turned_size:
        size = head.turned_size
    elif one.size is None and head.orientation != 1:
        size = head.turned_size
        faults.add(file_faults.EXIF_UNCLEAR, one.image, one.image)
    if one.size is not None and one.size != size:
        faults.add(
            fault_kinds.XML_SIZE,
            f'{one.image}: {size[0]} x {size[1]} instead of '
            f'{one.size[0]} x {one.size[1]}',
        )
    builder.add_image(one.image, size)
    for found in one.objects:
        if found.name not in classes:
            faults.add(fault_kinds.XML_CLASS, f'{one.file}: {found.name}')
            continue
        builder.add_box(
            found.corners,
            classes.index(found.name),
            f'{one.file}: {found.name}',
            is_crowd=found.difficult,
        )
