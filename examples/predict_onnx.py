# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Predict an image with a file that `ivit export` wrote.

pip install numpy pillow onnxruntime
python predict_onnx.py model.onnx photo.jpg --out predicted.png
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageOps


def load(path):
    """The session, and what the file says about itself."""
    try:
        session = onnxruntime.InferenceSession(path)
    except Exception as error:
        sys.exit(f'{path} is not a file that onnxruntime can run: {error}')
    metadata = session.get_modelmeta().custom_metadata_map
    if 'ivit' not in metadata:
        sys.exit(f'{path} was not written by `ivit export`')
    return session, json.loads(metadata['ivit'])


def read(path):
    """An image as an array (H, W, 3), turned as its camera was."""
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    except OSError as error:
        sys.exit(f'{path} cannot be read as an image: {error}')


def hats(places, size):
    """Weights (places, size) of linear interpolation; zero outside."""
    return np.maximum(0, 1 - abs(places[:, None] - np.arange(size)))


def resize(image, width, height, step):
    """Resize as the test pipeline of the model does."""
    if step['backend'] == 'pillow' or step['interpolation'] != 'bilinear':
        how = Image.Resampling[step['interpolation'].upper()]
        size = (width, height)
        return np.asarray(Image.fromarray(image).resize(size, how))
    # OpenCV's: from the nearest pixels, also where an image gets smaller.
    for axis, new in enumerate((height, width)):
        old = image.shape[axis]
        places = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
        image = np.tensordot(hats(places, old), image, (1, axis))
        image = np.moveaxis(image, 0, axis)
    return image.round().astype(np.uint8)


def prepare(image, steps):
    """The image as the model was trained to see it."""
    for step in steps:
        height, width = image.shape[:2]
        kind, size = step['step'], step['size']
        if kind == 'crop':
            top, left = (
                max(0, round((old - new) / 2))
                for old, new in zip((height, width), size[::-1])
            )
            image = image[top : top + size[1], left : left + size[0]]
            continue
        if kind == 'short':
            short = min(height, width)
            size = size * width // short, size * height // short
        elif kind == 'multiple':
            size = -(-width // size) * size, -(-height // size) * size
        elif kind == 'fit':
            factor = min(
                max(size) / max(height, width), min(size) / min(height, width)
            )
            size = int(width * factor + 0.5), int(height * factor + 0.5)
        image = resize(image, *size, step)
    return image


def paste(mask, box, height, width):
    """Probabilities (m, m) of a box as a mask of the whole image."""
    (left, right), (top, bottom) = box[::2], box[1::2]
    columns = (np.arange(width) + 0.5 - left) / (right - left)
    rows = (np.arange(height) + 0.5 - top) / (bottom - top)
    rows, columns = (
        hats(places * size - 0.5, size)
        for places, size in zip((rows, columns), mask.shape)
    )
    return rows @ mask @ columns.T


def draw_objects(image, seen, outputs, info, score):
    """Boxes, masks and names of what was found."""
    height, width = image.shape[:2]
    scale = np.array([width / seen.shape[1], height / seen.shape[0]] * 2)
    keep = (outputs['labels'] >= 0) & (outputs['scores'] >= score)
    boxes = outputs['boxes'][keep] * scale
    labels = outputs['labels'][keep]
    for number, label in zip(np.flatnonzero(keep), labels):
        if 'masks' in outputs:
            box = outputs['boxes'][number] * scale
            mask = paste(outputs['masks'][number], box, height, width)
            where = mask >= info['mask_threshold']
            color = np.array(info['palette'][label])
            image[where] = 0.5 * image[where] + 0.5 * color
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for box, label, value in zip(boxes, labels, outputs['scores'][keep]):
        color, name = tuple(info['palette'][label]), info['classes'][label]
        draw.rectangle(box.tolist(), outline=color, width=2)
        draw.text(box[:2].tolist(), f'{name} {value:.2f}', color)
        print(f'{name} {value:.3f}', *(f'{side:.1f}' for side in box))
    return picture


def draw_labels(image, labels, palette, classes):
    """The colours of classes over the image."""
    size = (image.shape[1], image.shape[0])
    labels = Image.fromarray(labels.astype(np.int32)).resize(size, 0)
    labels = np.asarray(labels)
    for label, count in zip(*np.unique(labels, return_counts=True)):
        print(f'{classes[label]} {count / labels.size:.1%}')
    colors = np.array(palette)[labels]
    return Image.fromarray((0.5 * image + 0.5 * colors).astype(np.uint8))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('model', help='a file that `ivit export` wrote')
    parser.add_argument('image', help='a picture of any format')
    parser.add_argument('--out', type=Path, help='the picture to write')
    parser.add_argument('--score', type=float, default=0.3, help='the least')
    args = parser.parse_args()
    session, info = load(args.model)
    image = read(args.image).copy()
    seen = prepare(image, info['resize'])
    batch = np.ascontiguousarray(seen.transpose(2, 0, 1)[None])
    results = session.run(None, {session.get_inputs()[0].name: batch})
    outputs = {key: one[0] for key, one in zip(info['outputs'], results)}
    if info['task'] == 'detection':
        picture = draw_objects(image, seen, outputs, info, args.score)
    elif info['task'] == 'segmentation':
        palette, classes = info['palette'], info['classes']
        picture = draw_labels(image, outputs['labels'], palette, classes)
    elif info['task'] == 'classification':
        for label in np.argsort(-outputs['scores'])[:5]:
            print(f'{info["classes"][label]} {outputs["scores"][label]:.3f}')
        return
    else:
        sys.exit(f'{args.model} has maps of features and no predictions')
    out = args.out or Path(Path(args.image).stem + '-predicted.png')
    picture.save(out)
    print(f'-> {out}')


if __name__ == '__main__':
    main()
