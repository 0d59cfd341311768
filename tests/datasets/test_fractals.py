# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import numpy as np
import pytest

from ivit.datasets.fractals import categories
from ivit.datasets.fractals.categories import (
    Categories,
    perturb_fractal,
    search_category,
)
from ivit.datasets.fractals.drawing import (
    draw_points,
    paint,
    reduce_mask,
    stamp_patches,
)
from ivit.datasets.fractals.systems import (
    NUM_FLUCTUATIONS,
    FractalSystem,
    hit_pixels,
    play_chaos_game,
    random_contractions,
)

# Halfway to one of three corners: Sierpinski's triangle.
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
SIERPINSKI = FractalSystem.of_maps(
    np.array([[0.5, 0, 0, 0.5, x / 2, y / 2] for x, y in CORNERS])
)


@pytest.fixture(scope='module')
def found():
    return [search_category(0, k, 0.2) for k in range(4)]


def test_points_are_on_the_attractor():
    x, y = play_chaos_game(SIERPINSKI, 20_000, np.random.default_rng(0))
    assert x.shape == y.shape == (20_000,)
    assert min(x.min(), y.min()) > -1e-6
    assert (x + y).max() < 1 + 1e-6
    # x and y have no binary digit in common: ten digits of each.
    digits = [np.floor(v * 2**10).astype(int) for v in (x, y)]
    # Rounding decides for few that are next to a border.
    assert ((digits[0] & digits[1]) == 0).mean() > 0.995
    # A third of them in each of the three parts.
    for corner in CORNERS / 2:
        part = (
            (x >= corner[0]) & (y >= corner[1]) & (x + y < corner.sum() + 0.5)
        )
        assert part.mean() == pytest.approx(1 / 3, abs=0.02)


def test_probabilities_are_in_proportion_to_areas():
    maps = np.array([[0.5, 0, 0, 0.5, 0, 0], [0.2, 0.1, 0.3, 0.4, 1, 1]])
    system = FractalSystem.of_maps(maps)
    areas = [0.25, 0.2 * 0.4 - 0.1 * 0.3]
    assert np.allclose(system.probabilities, np.array(areas) / sum(areas))


def test_a_system_that_expands_is_not_drawn():
    system = FractalSystem.of_maps(np.array([[2.0, 0, 0, 2, 1, 1]] * 2))
    assert play_chaos_game(system, 100, np.random.default_rng(0)) is None
    assert draw_points(system, 32, [0]) is None


def test_points_fill_the_image_but_for_the_margin():
    points = np.array([[-3.0, 7.0, 2.0], [0.0, 1.0, 0.5]])
    hits = hit_pixels(points, 20, 2)
    assert hits.sum() == 3
    rows, columns = np.nonzero(hits)
    assert (rows.min(), rows.max()) == (2, 17)
    assert (columns.min(), columns.max()) == (2, 17)
    assert hits[17, 2]  # the least x and y: at the bottom, on the left
    assert hits[2, 17]


def test_the_25_fluctuations_are_fractaldbs():
    """Each changes one parameter of all maps by one of four weights."""
    base = SIERPINSKI.scaled(np.ones(6))
    base.maps[:] = 1.0
    seen = set()
    for number in range(NUM_FLUCTUATIONS):
        maps = base.fluctuated(number).maps
        assert (maps == maps[0]).all()
        seen.add(tuple(np.round(maps[0], 6)))
    wanted = {(1.0,) * 6}
    for parameter in range(6):
        for weight in (0.2, 0.6, 1.4, 1.8):
            row = [1.0] * 6
            row[parameter] = weight
            wanted.add(tuple(row))
    assert seen == wanted


def rate_of_one_particle(system, seed):
    """FractalDB's filling rate: one particle, 100,000 points, 512 x 512."""
    rng = np.random.default_rng(seed)
    choices = rng.choice(len(system.maps), 100_000, p=system.probabilities)
    point = np.zeros(2)
    path = np.empty((100_000, 2))
    matrices = system.maps[:, :4].reshape(-1, 2, 2)
    for i, choice in enumerate(choices):
        point = matrices[choice] @ point + system.maps[choice, 4:]
        path[i] = point
    path = path[50:]
    low, high = path.min(0), path.max(0)
    cells = ((path - low) / (high - low) * 499.999).astype(int)
    return len(np.unique(cells, axis=0)) / 512**2


def test_categories_fill_their_images(found):
    for system in found:
        assert 2 <= len(system.maps) <= 7
        assert np.abs(system.maps).max() <= 1
        assert system.probabilities.sum() == pytest.approx(1)
    # Another game: extremes and with them the scale differ a little.
    assert rate_of_one_particle(found[0], 1) >= 0.19


def test_a_category_depends_on_the_seed_and_its_number(found):
    again = search_category(0, 2, 0.2)
    assert (again.maps == found[2].maps).all()
    other = search_category(1, 2, 0.2)
    assert (
        other.maps.shape != again.maps.shape
        or (other.maps != again.maps).any()
    )


def test_perturbations_are_of_one_fractal_and_within_delta():
    systems = [perturb_fractal(0, k, 0.1, 3.5) for k in range(3)]
    assert all(system.maps.shape == (2, 6) for system in systems)
    for a in systems:
        for b in systems:
            ratio = a.maps / b.maps
            assert (ratio >= 0.9 / 1.1).all()
            assert (ratio <= 1.1 / 0.9).all()
            assert (a.probabilities == b.probabilities).all()
    assert (systems[0].maps != systems[1].maps).any()


@pytest.mark.parametrize(('number', 'factor'), [(2, 3.5), (2, 4.0), (3, 5.0)])
def test_sigma_factor(number, factor):
    maps = random_contractions(np.random.default_rng(0), number, factor)
    values = np.linalg.svd(maps[:, :4].reshape(-1, 2, 2), compute_uv=False)
    assert (values < 1).all()
    assert (values @ [1, 2]).sum() == pytest.approx(factor, abs=0.1)


@pytest.mark.parametrize('factor', [0.0, 6.0, -1.0])
def test_a_sigma_factor_that_no_maps_have(factor):
    with pytest.raises(ValueError, match=f'sigma_factor={factor}'):
        random_contractions(np.random.default_rng(0), 2, factor)


def test_categories_are_searched_once_and_kept(tmp_path, found):
    calls = []

    def find(k):
        calls.append(k)
        return found[k]

    path = tmp_path / 'new' / 'systems.npy'
    for _ in range(2):
        loaded = Categories(4, find).load(path)
        for a, b in zip(loaded, found, strict=True):
            assert (a.maps == b.maps).all()
            assert (a.probabilities == b.probabilities).all()
    assert calls == [0, 1, 2, 3]


def test_a_file_of_something_else_is_an_error(tmp_path, found):
    path = tmp_path / 'systems.npy'
    Categories(4, found.__getitem__).load(path)
    with pytest.raises(ValueError, match=r'systems.npy has an array \(4, 7'):
        Categories(3, found.__getitem__).load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r'systems.npy cannot be read.*Remov'):
        Categories(4, found.__getitem__).load(path)


def test_an_interrupted_search_leaves_nothing(tmp_path, found):
    def find(k):
        if k == 2:
            raise KeyboardInterrupt
        return found[k]

    with pytest.raises(KeyboardInterrupt):
        Categories(4, find).load(tmp_path / 'systems.npy')
    assert [p.name for p in tmp_path.iterdir()] == ['.systems.npy.lock']


def test_processes_search_the_same(tmp_path, found, monkeypatch):
    from ivit.datasets import made_once

    monkeypatch.setattr(made_once, '_LEAST_IN_PARALLEL', 1)
    loaded = Categories(4, found.__getitem__).load(tmp_path / 'systems.npy')
    assert all(
        (a.maps == b.maps).all() for a, b in zip(loaded, found, strict=True)
    )


def test_patches_stay_around_their_points():
    rng = np.random.default_rng(0)
    hits = np.zeros((9, 9), bool)
    hits[0, 0] = hits[4, 4] = hits[8, 3] = True
    seen = set()
    for _ in range(200):
        stamped = stamp_patches(hits, rng)
        near = np.zeros_like(hits)
        near[:2, :2] = near[3:6, 3:6] = near[7:, 2:5] = True
        assert not (stamped & ~near).any()
        patch = stamped[3:6, 3:6]
        assert patch.any()
        seen.add(patch.tobytes())
    assert len(seen) > 100  # of 511 patterns


def test_coverage_is_the_mean_of_four_pixels():
    mask = np.random.default_rng(0).random((6, 6)) < 0.5
    wanted = [
        [mask[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean() for j in range(3)]
        for i in range(3)
    ]
    assert np.array_equal(reduce_mask(mask), wanted)


def test_pictures_are_grey_or_coloured():
    coverage = reduce_mask(draw_points(SIERPINSKI, 32, [0]))
    rng = np.random.default_rng(0)
    grey = paint(coverage, rng, 0.0, 0.0)
    assert grey.dtype == np.uint8
    assert grey.shape == (32, 32, 3)
    assert (grey == grey[..., :1]).all()
    assert (grey.max(), grey.min()) == (127, 0)
    assert np.array_equal(grey[..., 0] > 0, coverage > 0)
    coloured = paint(coverage, rng, 1.0, 1.0)
    assert (coloured != coloured[..., :1]).any()
    part = np.mean(
        [
            (p == p[..., :1]).all()
            for p in (paint(coverage, rng, 0.5, 0.5) for _ in range(200))
        ]
    )
    assert part == pytest.approx(0.5, abs=0.12)


def test_a_fractal_stands_out_from_what_is_behind(found):
    """Mean colours differ by more than the noise, summed over channels."""
    rng = np.random.default_rng(0)
    coverage = reduce_mask(draw_points(found[0], 64, [0]))
    contrasts = []
    for _ in range(50):
        picture = paint(coverage, rng, 1.0, 0.5).astype(float)
        difference = picture[coverage == 1].mean(0) - picture[
            coverage == 0
        ].mean(0)
        contrasts.append(np.abs(difference).sum())
    assert np.median(contrasts) > 100


def test_filling_rate_of_a_known_set():
    """Maps onto the four quarters of a square fill it evenly."""
    quarters = [[0.5, 0, 0, 0.5, x, y] for x in (0, 0.5) for y in (0, 0.5)]
    system = FractalSystem.of_maps(np.array(quarters))
    rate = categories.measure_filling_rate(
        system, 512, 6, np.random.default_rng(0)
    )
    # Points fall on 500 x 500 pixels at random.
    wanted = (1 - np.exp(-100_000 / 500**2)) * 500**2 / 512**2
    assert rate == pytest.approx(wanted, rel=0.01)
