# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Inputs for mmcv.ops and what the compiled operators made of them.

The results lie in tests/data/mmcv_ops. To make them again, with an mmcv that
has compiled operators: ``python tests/mmcv_ops/op_cases.py``.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parents[1] / 'data' / 'mmcv_ops'


def run(op, args, inputs):
    """Call ``mmcv.ops.{op}``; arrays in, arrays out."""
    import mmcv.ops

    function = getattr(mmcv.ops, op)
    tensors = {k: torch.from_numpy(v) for k, v in inputs.items()}
    if op == 'roi_align':
        grad = tensors.pop('grad')
        tensors['input'].requires_grad_()
        output = function(*tensors.values(), *args.values())
        output.backward(grad)
        results = output.detach(), tensors['input'].grad
    elif op == 'nms_match':
        groups = function(**tensors, **args)
        sizes = torch.tensor([len(group) for group in groups])
        results = torch.cat([*groups, sizes[:0]]), sizes
    else:
        results = function(**tensors, **args)
    return [result.numpy() for result in results]


def load(op):
    """Yield ``(name, args, inputs, results)`` of every stored case."""
    with np.load(DATA / f'{op}.npz') as file:
        for name, args in json.loads(str(file['args'])).items():
            inputs, results = {}, []
            for key in file.files:
                case, _, part = key.rpartition('/')
                if case == name and part.isdigit():
                    results.append(file[key])
                elif case == name:
                    inputs[part] = file[key]
            yield name, args, inputs, results


def boxes_of(rng, n, whole=False):
    """Boxes in clusters, with the overlaps that detectors produce."""
    centre = rng.uniform(0, 100, (max(n // 6, 1), 2))
    centre = centre[rng.integers(len(centre), size=n)]
    xy = centre + rng.normal(0, 3, (n, 2))
    wh = rng.uniform(8, 24, (n, 2))
    boxes = np.concatenate([xy, xy + wh], 1)
    return (boxes.round() if whole else boxes).astype(np.float32)


def nms_inputs(rng, n, whole=False):
    # No equal scores: torch orders those as the processor's sort happens to.
    scores = (rng.permutation(n) + 0.5) / max(n, 1)
    return {
        'boxes': boxes_of(rng, n, whole),
        'scores': scores.astype(np.float32),
    }


def at_threshold():
    """Pairs of whole boxes whose IoU is 1/10 to 9/10 exactly."""
    boxes, scores = [], []
    for tenths in range(1, 10):
        y = 20 * tenths
        boxes += [[0, y, 10, y + 10], [0, y, tenths, y + 10]]
        scores += [0.9 + tenths / 1000, 0.8 + tenths / 1000]
    return {
        'boxes': np.array(boxes, np.float32),
        'scores': np.array(scores, np.float32),
    }


def nms_cases(rng):
    for threshold in (0.3, 0.5, 0.7):
        for offset in (0, 1):
            args = {'iou_threshold': threshold, 'offset': offset}
            name = f'iou{threshold}_offset{offset}'
            yield f'random_{name}', args, nms_inputs(rng, 200)
            yield f'whole_{name}', args, nms_inputs(rng, 200, whole=True)
    for tenths in range(1, 10):
        args = {'iou_threshold': tenths / 10}
        yield f'at_threshold_{tenths}', args, at_threshold()
    for n in (0, 1):
        yield f'{n}_boxes', {'iou_threshold': 0.5}, nms_inputs(rng, n)
    args = {'iou_threshold': 0.5, 'max_num': 7, 'score_threshold': 0.3}
    yield 'limits', args, nms_inputs(rng, 100)
    empty = nms_inputs(rng, 20)
    empty['boxes'][::2, 2:] = empty['boxes'][::2, :2]
    empty['boxes'][::3] = 5
    yield 'empty_boxes', {'iou_threshold': 0.5}, empty


def soft_nms_cases(rng):
    for method in ('naive', 'linear', 'gaussian'):
        for offset in (0, 1):
            args = {
                'iou_threshold': 0.4,
                'sigma': 0.5,
                'min_score': 0.05,
                'method': method,
                'offset': offset,
            }
            yield f'random_{method}{offset}', args, nms_inputs(rng, 120)
            ties = nms_inputs(rng, 80, True)
            ties['scores'] = ties['scores'].round(1)
            yield f'ties_{method}{offset}', args, ties
    yield 'defaults', {}, nms_inputs(rng, 150)
    yield 'at_threshold', {'iou_threshold': 0.3}, at_threshold()
    for n in (0, 1):
        yield f'{n}_boxes', {}, nms_inputs(rng, n)


def nms_match_cases(rng):
    for name, n, whole in (
        ('random', 150, False),
        ('whole', 100, True),
        ('one', 1, False),
        ('none', 0, False),
    ):
        inputs = nms_inputs(rng, n, whole)
        dets = np.concatenate([inputs['boxes'], inputs['scores'][:, None]], 1)
        yield name, {'iou_threshold': 0.5}, {'dets': dets}


def batched_nms_cases(rng):
    cfg = {'type': 'nms', 'iou_threshold': 0.5}
    for name, extra in (
        ('classes', {}),
        ('max_num', {'max_num': 10}),
        ('split', {'split_thr': 50}),
        ('agnostic', {'class_agnostic': True}),
        ('soft', {'type': 'soft_nms', 'min_score': 0.05}),
    ):
        inputs = nms_inputs(rng, 200)
        inputs['idxs'] = rng.integers(0, 5, 200)
        yield name, {'nms_cfg': {**cfg, **extra}}, inputs


def roi_align_cases(rng):
    size = (16, 20)  # of the map
    for aligned in (True, False):
        for ratio in (0, 2):
            for scale, output_size in ((0.25, (3, 5)), (1.0, (7, 7))):
                n = 8 if scale < 1 else 4
                x1, y1 = rng.uniform(-4, 14, (2, n)) / scale
                w, h = rng.uniform(0.3, 12, (2, n)) / scale
                image = rng.integers(0, 2, n)
                rois = np.stack([image, x1, y1, x1 + w, y1 + h], 1)
                rois[0, 1:] = np.array([40, 40, 50, 50]) / scale  # outside
                rois[1, 3:] = rois[1, 1:3]  # a point
                rois[2, 1:] = np.array([0, 0, 20, 16]) / scale  # the map
                args = {
                    'output_size': output_size,
                    'spatial_scale': scale,
                    'sampling_ratio': ratio,
                    'pool_mode': 'avg',
                    'aligned': aligned,
                }
                yield _roi_case(
                    rng, f'aligned{aligned}_ratio{ratio}', args, rois, size
                )
    yield _roi_case(rng, 'no_rois', args, np.zeros((0, 5)), (4, 4))


def _roi_case(rng, name, args, rois, size):
    output = (len(rois), 2, *args['output_size'])
    inputs = {
        'input': rng.normal(size=(2, 2, *size)).astype(np.float32),
        'rois': rois.astype(np.float32),
        'grad': rng.normal(size=output).astype(np.float32),
    }
    return f'{name}_scale{args["spatial_scale"]}', args, inputs


CASES = {
    'nms': nms_cases,
    'soft_nms': soft_nms_cases,
    'nms_match': nms_match_cases,
    'batched_nms': batched_nms_cases,
    'roi_align': roi_align_cases,
}


def main():
    import mmcv
    from mmcv import _ext

    if not getattr(_ext, '__file__', None):
        sys.exit(f'the mmcv at {mmcv.__path__[0]} has no compiled operators')
    DATA.mkdir(parents=True, exist_ok=True)
    for op, cases in CASES.items():
        all_args, arrays = {}, {}
        for name, args, inputs in cases(np.random.default_rng(0)):
            all_args[name] = args
            for key, value in inputs.items():
                arrays[f'{name}/{key}'] = value
            for i, value in enumerate(run(op, args, inputs)):
                arrays[f'{name}/{i}'] = value
        path = DATA / f'{op}.npz'
        np.savez_compressed(path, args=json.dumps(all_args), **arrays)
        sys.stdout.write(
            f'{path.name}: {len(all_args)} cases, '
            f'{path.stat().st_size / 1000:.0f} kB\n'
        )


if __name__ == '__main__':
    main()
