# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Write the same few drawn scenes in every layout.

    scenes = draw_scenes()
    write_yolo(root, scenes)

Every writer takes a folder that need not exist and the scenes by split.
``WRITERS`` has all of them by name.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw

#: Sorted, with a blank, with letters and signs that are not ASCII.
CLASSES = ('Fähre', 'traffic light', '自転車')
#: Those of label maps, where the pixels of no object have a class too.
MAP_CLASSES = ('background', *CLASSES)
COLORS = ((0, 0, 0), (200, 30, 30), (30, 160, 60), (40, 70, 220))
VOID_COLOR = (224, 224, 192)
COUNTS = dict(train=7, val=3, test=2)


@dataclass
class Scene:
    """An image and what it shows.

    Attributes:
        stem: Name of its files, without a suffix.
        image: RGB, uint8, ``(H, W, 3)``.
        label_map: Indices of ``MAP_CLASSES``, uint8, ``(H, W)``.
        labels: For each object the index in ``CLASSES``.
        polygons: For each object its corners in pixels, as x1, y1, x2, ...
    """

    stem: str
    image: np.ndarray
    label_map: np.ndarray
    labels: list[int]
    polygons: list[list[float]]

    @property
    def size(self):
        """Width and height."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def boxes(self):
        """Left, top, width and height of each object."""
        boxes = []
        for polygon in self.polygons:
            xs, ys = polygon[::2], polygon[1::2]
            left, top = min(xs), min(ys)
            boxes.append([left, top, max(xs) - left, max(ys) - top])
        return boxes

    @property
    def class_index(self):
        """The class of the whole image: that of its first object."""
        return self.labels[0]


Scenes = dict[str, list[Scene]]
Writer = Callable[[Path, Scenes], object]


def draw_scenes() -> Scenes:
    """12 scenes of 1 to 3 objects, in three splits."""
    rng = np.random.default_rng(0)
    numbers = iter(range(sum(COUNTS.values())))
    return {
        split: [draw_scene(next(numbers), rng) for _ in range(count)]
        for split, count in COUNTS.items()
    }


def draw_scene(number, rng) -> Scene:
    """Objects lie side by side, in cells of 24 pixels, and never overlap."""
    count = 1 + number % 3
    width, height = 24 * count + 4 * (number % 4), 32 + 4 * (number % 3)
    noise = rng.integers(90, 140, (height, width, 3), np.uint8)
    image, label_map = Image.fromarray(noise), Image.new('L', (width, height))
    labels, polygons = [], []
    for i in range(count):
        label = (number + i) % len(CLASSES)
        left = 24 * i + int(rng.integers(1, 6))
        top = int(rng.integers(1, 8))
        right, bottom = left + 16, top + int(rng.integers(12, 20))
        middle = (left + right) // 2
        polygon = [
            [left, top, right, top, right, bottom, left, bottom],
            [middle, top, right, bottom, left, bottom],
            [left, top, right, top, middle, bottom],
        ][label]
        # Pillow draws the pixels at both ends.
        inner = [
            (x - (x == right), y - (y == bottom))
            for x, y in zip(polygon[::2], polygon[1::2], strict=True)
        ]
        ImageDraw.Draw(image).polygon(inner, fill=COLORS[label + 1])
        ImageDraw.Draw(label_map).polygon(inner, fill=label + 1)
        labels.append(label)
        polygons.append([float(value) for value in polygon])
    return Scene(
        f'Straße {number:02}',
        np.asarray(image),
        np.asarray(label_map),
        labels,
        polygons,
    )


def save(array: np.ndarray, path: Path) -> Path:
    """Save an image, in a folder that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def write_text(path: Path, *lines: str) -> Path:
    """Write lines in UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{line}\n' for line in lines), 'utf-8')
    return path


# YOLO ----------------------------------------------------------------------


def yolo_lines(scene: Scene, polygons: bool) -> list[str]:
    """The lines of a label file."""
    width, height = scene.size
    lines = []
    for i, label in enumerate(scene.labels):
        if polygons:
            values = np.reshape(scene.polygons[i], (-1, 2)) / scene.size
        else:
            x, y, w, h = scene.boxes[i]
            values = np.divide(
                [x + w / 2, y + h / 2, w, h], [width, height, width, height]
            )
        numbers = ' '.join(f'{value:.6f}' for value in values.ravel())
        lines.append(f'{label} {numbers}')
    return lines


def write_yolo(root: Path, scenes: Scenes, polygons: bool = False) -> None:
    """``images/train``, ``labels/train``, and so on; names by index."""
    for split, members in scenes.items():
        for scene in members:
            save(scene.image, root / 'images' / split / f'{scene.stem}.jpg')
            write_text(
                root / 'labels' / split / f'{scene.stem}.txt',
                *yolo_lines(scene, polygons),
            )
    write_text(
        root / 'data.yaml',
        'path: ../datasets/elsewhere',
        *(f'{split}: images/{split}' for split in scenes),
        'names:',
        *(f'  {index}: {name}' for index, name in enumerate(CLASSES)),
    )


def write_yolo_polygons(root: Path, scenes: Scenes) -> None:
    """The same with polygons."""
    write_yolo(root, scenes, polygons=True)


def write_yolo_roboflow(root: Path, scenes: Scenes) -> None:
    """``train/images`` and ``valid/images``, which the file has as ``../``."""
    for split, members in scenes.items():
        folder = root / ROBOFLOW_FOLDERS[split]
        for scene in members:
            save(scene.image, folder / 'images' / f'{scene.stem}.jpg')
            write_text(
                folder / 'labels' / f'{scene.stem}.txt',
                *yolo_lines(scene, polygons=False),
            )
    write_text(
        root / 'data.yaml',
        *(f'{split}: ../{ROBOFLOW_FOLDERS[split]}/images' for split in scenes),
        f'nc: {len(CLASSES)}',
        f'names: {json.dumps(CLASSES, ensure_ascii=False)}',
    )


ROBOFLOW_FOLDERS = dict(train='train', val='valid', test='test')

# COCO ----------------------------------------------------------------------


def coco_content(scenes: list[Scene]) -> dict:
    """The content of an annotation file."""
    images, annotations = [], []
    for number, scene in enumerate(scenes, 1):
        width, height = scene.size
        name = f'{scene.stem}.jpg'
        images.append(
            dict(id=number, file_name=name, width=width, height=height)
        )
        for i, label in enumerate(scene.labels):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=label + 1,
                    bbox=scene.boxes[i],
                    area=polygon_area(scene.polygons[i]),
                    iscrowd=0,
                    segmentation=[scene.polygons[i]],
                )
            )
    categories = [
        dict(id=number, name=name, supercategory='thing')
        for number, name in enumerate(CLASSES, 1)
    ]
    return dict(images=images, annotations=annotations, categories=categories)


def polygon_area(polygon: list[float]) -> float:
    """The area by numpy: half the sum of cross products."""
    x, y = np.reshape(polygon, (-1, 2)).T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


def write_coco_file(path: Path, content: dict) -> None:
    """Write an annotation file."""
    write_text(path, json.dumps(content, ensure_ascii=False))


def write_coco(root: Path, scenes: Scenes) -> None:
    """The official folders, ``train2017`` and ``annotations``."""
    for split, members in scenes.items():
        for scene in members:
            save(scene.image, root / f'{split}2017' / f'{scene.stem}.jpg')
        write_coco_file(
            root / 'annotations' / f'instances_{split}2017.json',
            coco_content(members),
        )


def write_coco_single(root: Path, scenes: Scenes) -> None:
    """One file for all, in ``annotations``, beside ``images``."""
    members = [scene for split in scenes.values() for scene in split]
    for scene in members:
        save(scene.image, root / 'images' / f'{scene.stem}.jpg')
    write_coco_file(
        root / 'annotations' / 'instances_default.json', coco_content(members)
    )


def write_coco_roboflow(root: Path, scenes: Scenes) -> None:
    """A file among the images of each split."""
    for split, members in scenes.items():
        folder = root / ROBOFLOW_FOLDERS[split]
        for scene in members:
            save(scene.image, folder / f'{scene.stem}.jpg')
        write_coco_file(
            folder / '_annotations.coco.json', coco_content(members)
        )


# Pascal VOC ----------------------------------------------------------------


def write_voc_file(path: Path, scene: Scene, difficult: int = 0) -> None:
    """Write an XML file; its first object is difficult, if any is."""
    width, height = scene.size
    lines = [
        '<annotation>',
        '<folder>JPEGImages</folder>',
        f'<filename>{escape(scene.stem)}.jpg</filename>',
        f'<size><width>{width}</width><height>{height}</height>'
        '<depth>3</depth></size>',
    ]
    for i, label in enumerate(scene.labels):
        x, y, w, h = scene.boxes[i]
        corners = dict(xmin=x + 1, ymin=y + 1, xmax=x + w, ymax=y + h)
        box = ''.join(f'<{k}>{int(v)}</{k}>' for k, v in corners.items())
        lines.append(
            f'<object><name>{escape(CLASSES[label])}</name>'
            f'<difficult>{int(i < difficult)}</difficult>'
            f'<bndbox>{box}</bndbox></object>'
        )
    write_text(path, *lines, '</annotation>')


def write_voc(root: Path, scenes: Scenes) -> None:
    """``Annotations``, ``JPEGImages`` and lists."""
    for split, members in scenes.items():
        for scene in members:
            save(scene.image, root / 'JPEGImages' / f'{scene.stem}.jpg')
            write_voc_file(root / 'Annotations' / f'{scene.stem}.xml', scene)
        write_text(
            root / 'ImageSets' / 'Main' / f'{split}.txt',
            *(scene.stem for scene in members),
        )


def write_voc_roboflow(root: Path, scenes: Scenes) -> None:
    """An XML file beside each image."""
    for split, members in scenes.items():
        folder = root / ROBOFLOW_FOLDERS[split]
        for scene in members:
            save(scene.image, folder / f'{scene.stem}.jpg')
            write_voc_file(folder / f'{scene.stem}.xml', scene)


def write_voc_masks(root: Path, scenes: Scenes, colors: bool = True) -> None:
    """``SegmentationClass`` with colours, as CVAT writes it, and lists."""
    for split, members in scenes.items():
        for scene in members:
            save(scene.image, root / 'JPEGImages' / f'{scene.stem}.jpg')
            path = root / 'SegmentationClass' / f'{scene.stem}.png'
            if colors:
                save(np.array(COLORS, np.uint8)[scene.label_map], path)
            else:
                save_with_palette(scene.label_map, path)
        write_text(
            root / 'ImageSets' / 'Segmentation' / f'{split}.txt',
            *(f'"{scene.stem}"' for scene in members),
        )
    write_text(root / 'labelmap.txt', *label_map_lines())


def write_voc_masks_palette(root: Path, scenes: Scenes) -> None:
    """The same with a palette, as VOC has it."""
    write_voc_masks(root, scenes, colors=False)


def label_map_lines() -> list[str]:
    """The lines of CVAT's ``labelmap.txt``."""
    return ['# label:color_rgb:parts:actions'] + [
        f'{name}:{r},{g},{b}::'
        for name, (r, g, b) in zip(MAP_CLASSES, COLORS, strict=True)
    ]


def save_with_palette(label_map: np.ndarray, path: Path) -> None:
    """Save numbers with the colours of the classes as a palette."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(label_map)
    colors = [*COLORS, *[VOID_COLOR] * (256 - len(COLORS))]
    image.putpalette([part for color in colors for part in color])
    image.save(path)


# Label maps in folders -----------------------------------------------------


def write_label_folders(
    root: Path,
    scenes: Scenes,
    images: str = 'images/{split}',
    maps: str = 'labels/{split}',
    names: dict[str, str] | None = None,
    ending: str = '',
) -> None:
    """Label maps of indices.

    Args:
        root: The folder.
        scenes: The scenes by split.
        images: The folder of the images of a split.
        maps: The folder of its label maps.
        names: What the folders call the splits.
        ending: What comes after the stem in names of label maps.
    """
    for split, members in scenes.items():
        name = (names or {}).get(split, split)
        for scene in members:
            folder = root / images.format(split=name)
            save(scene.image, folder / f'{scene.stem}.jpg')
            folder = root / maps.format(split=name)
            save(scene.label_map, folder / f'{scene.stem}{ending}.png')
    write_text(root / 'classes.txt', *MAP_CLASSES)


def write_label_folders_inner(root: Path, scenes: Scenes) -> None:
    """``train/images`` and ``train/masks``."""
    write_label_folders(
        root,
        scenes,
        '{split}/images',
        '{split}/masks',
        ROBOFLOW_FOLDERS,
        '_mask',
    )


def write_label_folders_mmseg(root: Path, scenes: Scenes) -> None:
    """``img_dir/train`` and ``ann_dir/train``."""
    write_label_folders(root, scenes, 'img_dir/{split}', 'ann_dir/{split}')


def write_label_folders_ade(root: Path, scenes: Scenes) -> None:
    """``images/training`` and ``annotations/training``."""
    names = dict(train='training', val='validation')
    scenes = {split: scenes[split] for split in names}
    write_label_folders(
        root, scenes, 'images/{split}', 'annotations/{split}', names
    )


def write_label_folders_flat(root: Path, scenes: Scenes) -> None:
    """``images`` and ``masks`` without splits."""
    write_label_folders(
        root, scenes, 'Images', 'Masks', ending='_gtFine_labelIds'
    )


# Class folders -------------------------------------------------------------


def write_class_folders(root: Path, scenes: Scenes) -> None:
    """``train/<class>``, ``val/<class>`` and ``test/<class>``."""
    for split, members in scenes.items():
        write_class_folders_flat(root / split, {split: members})


def write_class_folders_flat(root: Path, scenes: Scenes) -> None:
    """``<class>`` alone."""
    for members in scenes.values():
        for scene in members:
            folder = root / CLASSES[scene.class_index]
            save(scene.image, folder / f'{scene.stem}.jpg')


#: All writers by name; the word before the comma is the layout.
WRITERS: dict[str, Writer] = {
    'yolo': write_yolo,
    'yolo, polygons': write_yolo_polygons,
    'yolo, roboflow': write_yolo_roboflow,
    'coco': write_coco,
    'coco, single file': write_coco_single,
    'coco, roboflow': write_coco_roboflow,
    'voc': write_voc,
    'voc, roboflow': write_voc_roboflow,
    'voc masks': write_voc_masks,
    'voc masks, palette': write_voc_masks_palette,
    'label folders': write_label_folders,
    'label folders, inner': write_label_folders_inner,
    'label folders, mmseg': write_label_folders_mmseg,
    'label folders, ade': write_label_folders_ade,
    'label folders, flat': write_label_folders_flat,
    'class folders': write_class_folders,
    'class folders, flat': write_class_folders_flat,
}
#: Those that keep no splits: all is for training.
WITHOUT_SPLITS = (
    'coco, single file',
    'label folders, flat',
    'class folders, flat',
)
