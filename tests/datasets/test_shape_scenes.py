# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import sys

import numpy as np
import pytest

from ivit.datasets.scenes import MAX_OBJECTS, MIN_VISIBLE
from ivit.datasets.shape_scenes import (
    CLASSES,
    PALETTE,
    PHOTOGRAPHS,
    draw_scene,
)


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene(0, 'train', i, 128) for i in range(1, 101)]


def test_classes_are_sorted_and_have_colours():
    # mmpretrain numbers class folders alphabetically.
    assert list(CLASSES) == sorted(CLASSES)
    assert len(PALETTE) == len(CLASSES) == len(set(PALETTE))


def test_scene_shapes_and_types(scenes):
    for scene in scenes:
        n = len(scene.labels)
        assert 1 <= n <= MAX_OBJECTS
        assert scene.image.shape == (128, 128, 3)
        assert scene.image.dtype == np.uint8
        assert scene.masks.shape == (n, 128, 128)
        assert scene.masks.dtype == bool


def test_no_pixel_belongs_to_two_objects(scenes):
    for scene in scenes:
        assert scene.masks.sum(0).max() == 1


def test_box_is_the_tight_bound_of_the_mask(scenes):
    for scene in scenes:
        for mask, (x, y, w, h) in zip(scene.masks, scene.boxes(), strict=True):
            ys, xs = np.nonzero(mask)
            assert (x, y) == (xs.min(), ys.min())
            assert (x + w - 1, y + h - 1) == (xs.max(), ys.max())


def test_label_map_is_the_union_of_the_masks(scenes):
    for scene in scenes:
        label_map = scene.label_map()
        assert ((label_map > 0) == scene.masks.any(0)).all()
        for label, mask in zip(scene.labels, scene.masks, strict=True):
            assert (label_map[mask] == label + 1).all()


def test_occlusion_happens_and_is_bounded(monkeypatch, scenes):
    """Later objects hide earlier ones, never more than the bound says."""
    from ivit.datasets import shape_scenes as module

    drawn = []
    rasterise = module._rasterise

    def record(outlines, size):
        # The same outline on a canvas three times as wide: nothing is cut.
        whole, _ = rasterise([o + size for o in outlines], 3 * size)
        coverage, area = rasterise(outlines, size)
        drawn.append((coverage >= 0.5, (whole >= 0.5).sum()))
        return coverage, area

    monkeypatch.setattr(module, '_rasterise', record)
    hidden = 0
    for i in range(1, 41):
        drawn.clear()
        scene = draw_scene(0, 'train', i, 128)
        for mask in scene.masks:
            # The object of this mask is the smallest outline that covers it.
            outline, whole = min(
                (d for d in drawn if (d[0] & mask).sum() == mask.sum()),
                key=lambda d: d[1],
            )
            # 0.03: pixels at the outline are counted whole or not at all.
            assert mask.sum() / whole >= MIN_VISIBLE - 0.03
            hidden += mask.sum() < outline.sum()
    assert hidden >= 20


def test_same_arguments_same_scene_in_any_order():
    first = [draw_scene(3, 'val', i, 64) for i in (1, 2, 3)]
    again = [draw_scene(3, 'val', i, 64) for i in (3, 2, 1)][::-1]
    for a, b in zip(first, again, strict=True):
        assert (a.image == b.image).all()
        assert (a.masks == b.masks).all()
        assert a.labels == b.labels


def test_seed_split_and_index_all_matter():
    image = draw_scene(0, 'train', 1, 64).image
    for other in ((1, 'train', 1), (0, 'val', 1), (0, 'train', 2)):
        assert (draw_scene(*other, 64).image != image).any()


def test_objects_stand_out_from_what_is_behind(scenes):
    """Mean colour inside a mask differs from the ring just outside it."""
    from scipy.ndimage import binary_dilation

    contrasts = []
    for scene in scenes:
        image = scene.image.astype(float)
        for mask in scene.masks:
            around = binary_dilation(mask, iterations=4) & ~mask
            difference = image[mask].mean(0) - image[around].mean(0)
            contrasts.append(np.abs(difference).sum())
    # A sum over three channels of 0..255: most are plain to see, some are not.
    assert np.median(contrasts) > 100
    assert min(contrasts) < 100


def test_classes_and_sizes_are_balanced(scenes):
    labels = [label for scene in scenes for label in scene.labels]
    counts = np.bincount(labels, minlength=len(CLASSES))
    assert counts.min() > 0.6 * counts.mean()
    assert counts.max() < 1.4 * counts.mean()
    sides = np.concatenate([s.boxes()[:, 2:].max(1) for s in scenes])
    assert (sides >= 12).all()
    assert (sides <= 65).all()
    assert sides.min() < 25
    assert sides.max() > 55


def test_image_size_scales_the_objects():
    def part(size):
        masks = [
            draw_scene(0, 'train', i, size).masks.sum() for i in range(1, 31)
        ]
        return np.mean(masks) / size**2

    assert part(256) == pytest.approx(part(64), rel=0.35)


def test_train_and_val_see_different_parts_of_a_photograph(monkeypatch):
    from ivit.datasets import shape_scenes as module

    crops = {'train': [], 'val': []}
    photograph = module._photograph

    class Spy:
        def __init__(self, name):
            self.photo = photograph(name)
            self.width, self.height = self.photo.size

        def resize(self, size, resample, box):
            crops[split].append((box[0] / self.width, box[2] / self.width))
            assert min(box) >= 0
            assert box[3] <= self.height
            return self.photo.resize(size, resample, box)

    monkeypatch.setattr(module, '_photograph', Spy)
    for split in crops:
        for i in range(1, 41):
            draw_scene(0, split, i, 32)
    assert max(right for _, right in crops['train']) <= 0.651
    assert min(left for left, _ in crops['val']) >= 0.649
    assert max(right for _, right in crops['val']) <= 1.0


def test_no_download(monkeypatch):
    """All photographs come from the wheel, without pooch."""
    from ivit.datasets import shape_scenes as module

    monkeypatch.setitem(sys.modules, 'pooch', None)  # importing it fails
    module._photograph.cache_clear()
    sizes = [module._photograph(name).size for name in PHOTOGRAPHS]
    assert all(min(size) >= 300 for size in sizes)
