# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Predict an image with a file that `ivit export` wrote, without torch.

    pip install numpy pillow onnxruntime
    python examples/predict_onnx.py model.onnx photo.jpg
What is found is printed, and drawn into predicted.png.
"""

import argparse
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageOps


def load(path: str) -> tuple[onnxruntime.InferenceSession, dict]:
    """The session, and what the file says about itself."""
    try:
        session = onnxruntime.InferenceSession(path)
    except Exception as error:
        sys.exit(f'{path} is no file that onnxruntime can run: {error}')
    metadata = session.get_modelmeta().custom_metadata_map
    if 'ivit' not in metadata:
        sys.exit(f'{path} was not written by `ivit export`')
    return session, json.loads(metadata['ivit'])


def read(path: str) -> np.ndarray:
    """An image as an array (H, W, 3), turned as its camera was."""
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
    except OSError as error:
        sys.exit(f'{path} cannot be read as an image: {error}')
    if image.mode.startswith('I'):  # 16 bits a pixel
        image = Image.fromarray(np.uint8(np.array(image) / 256))
    return np.array(image.convert('RGB'))


def hats(count: int, size: int, start: float, end: float) -> np.ndarray:
    """Weights (count, size) of pixels, of cells that lie from start to end."""
    at = (np.arange(count) + 0.5 - start) / (end - start) * size - 0.5
    return np.maximum(0, 1 - abs(at[:, None] - np.arange(size)))


def resize(image: np.ndarray, size: list[int], how: dict) -> np.ndarray:
    """Resize as the test pipeline of the model does."""
    if how['backend'] == 'pillow' or how['interpolation'] != 'bilinear':
        code = Image.Resampling[how['interpolation'].upper()]
        return np.array(Image.fromarray(image).resize(size, code))
    # OpenCV's: from the nearest pixels, also where an image gets smaller.
    for axis, new in enumerate(size[::-1]):
        old = image.shape[axis]
        weights = hats(new, old, 0, new)
        weights /= weights.sum(1, keepdims=True)  # of the border alone
        image = np.moveaxis(np.tensordot(weights, image, (1, axis)), 0, axis)
    return image.round().astype(np.uint8)


def prepare(image: np.ndarray, steps: list[dict]) -> np.ndarray:
    """The image as the model was trained to see it."""
    for step in steps:
        kind, size = step['step'], step['size']
        sides = image.shape[1::-1]
        if kind == 'crop':
            spare = np.subtract(sides, size) / 2
            left, top = np.round(spare).clip(0).astype(int)
            image = image[top : top + size[1], left : left + size[0]]
            continue
        if kind == 'short':
            size = [size * side // min(sides) for side in sides]
        elif kind == 'multiple':
            size = [-(-side // size) * size for side in sides]
        elif kind == 'fit':
            factor = max(size) / max(sides), min(size) / min(sides)
            size = [int(side * min(factor) + 0.5) for side in sides]
        image = resize(image, size, step)
    return image


def paste(mask: np.ndarray, box: np.ndarray, shape: tuple) -> np.ndarray:
    """Probabilities (m, m) of a box as those of the image's pixels."""
    left, top, right, bottom = box
    size = len(mask)
    rows = hats(shape[0], size, top, bottom)
    columns = hats(shape[1], size, left, right)
    return rows @ mask @ columns.T


def mark(image: np.ndarray, out: dict, info: dict, low: float) -> Image.Image:
    """Boxes, masks and names of what was found."""
    keep = (out['labels'] >= 0) & (out['scores'] >= low)
    found = {name: values[keep] for name, values in out.items()}
    colors = [tuple(info['palette'][label]) for label in found['labels']]
    for number, box in enumerate(found['boxes']):
        if 'masks' in found:
            mask = paste(found['masks'][number], box, image.shape)
            where = mask >= info['mask_threshold']
            image[where] = 0.5 * image[where] + 0.5 * np.array(colors[number])
    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for number, box in enumerate(found['boxes'].tolist()):
        text = info['classes'][found['labels'][number]]
        text += f' {found["scores"][number]:.3f}'
        pen.rectangle(box, outline=colors[number], width=2)
        pen.text(box[:2], text, colors[number])
        print(text, *(f'{side:.1f}' for side in box))
    return picture


def main() -> None:
    """Predict, print what was found, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('model', help='a file that `ivit export` wrote')
    parser.add_argument('image')
    parser.add_argument('--out', default='predicted.png', help='the drawing')
    parser.add_argument('--score', type=float, default=0.3, help='the least')
    args = parser.parse_args()
    session, info = load(args.model)
    image = read(args.image)
    seen = prepare(image, info['resize'])
    batch = np.ascontiguousarray(seen.transpose(2, 0, 1)[None])
    try:
        results = session.run(info['outputs'], {'images': batch})
    except Exception as error:
        sys.exit(f'{args.model} does not take {batch.shape}: {error}')
    outputs = {k: v[0] for k, v in zip(info['outputs'], results, strict=True)}
    if 'boxes' in outputs:
        ratio = np.divide(image.shape[1::-1], seen.shape[1::-1])
        outputs['boxes'] = outputs['boxes'] * np.tile(ratio, 2)
        mark(image, outputs, info, args.score).save(args.out)
    elif 'labels' in outputs:
        labels = Image.fromarray(outputs['labels'].astype(np.int32))
        labels = np.array(labels.resize(image.shape[1::-1], 0))
        for label in np.unique(labels):
            print(info['classes'][label], f'{(labels == label).mean():.1%}')
        colors = 0.5 * image + 0.5 * np.array(info['palette'])[labels]
        Image.fromarray(colors.astype(np.uint8)).save(args.out)
    elif 'scores' in outputs:
        for label in np.argsort(-outputs['scores'])[:5]:
            print(f'{info["classes"][label]} {outputs["scores"][label]:.3f}')
    else:
        sys.exit(f'{args.model} returns maps of features and no predictions')


if __name__ == '__main__':
    main()
