# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What holds for the maps of every backbone, and for its weights."""

import copy
import pickle

import pytest
import torch
from backbone_cases import (
    ALL,
    NANO,
    NORMED,
    PLAINS,
    TINY,
    family_of,
    images,
    map_shapes,
    nano,
    tiny,
    variants,
)
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint

from ivit import backbones

# Epsilons of a 16-bit type by which maps may be wrong, if not 2: iViT's are
# rounded after every convolution and batch norm too.
ROUNDING = {'IViT': 4}


@pytest.fixture(scope='module')
def full():
    """Tiny models by family, for tests that leave them as they are."""
    return {family: tiny(family) for family in ALL}


def test_these_are_all_registered_backbones():
    registered = {
        name
        for name, cls in MODELS.module_dict.items()
        if cls.__module__.startswith('ivit.backbones.')
    }
    assert registered == set(ALL) == set(backbones.__all__)


@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg', 'mmpretrain'])
@pytest.mark.parametrize('family', ALL)
def test_registered_once_for_all_scopes(family, scope):
    registry = MODELS
    if scope != 'mmengine':
        registry = pytest.importorskip(f'{scope}.registry').MODELS
    model = registry.build(dict(type=family, **NANO[family]))
    assert type(model) is family_of(family)


@pytest.mark.parametrize(('family', 'options'), variants())
def test_any_size(family, options):
    model = tiny(family, **options).float()
    for size in (
        (96, 96),
        (1, 1),
        (2, 3),
        (17, 100),
        (31, 33),
        (90, 131),
        (129, 64),
        (5, 300),
    ):
        with torch.no_grad():
            outs = model(images(*size).float())
        assert [out.shape for out in outs] == map_shapes(model, size)
        assert all(out.isfinite().all() for out in outs), size
        # Not a constant: what an image shows reaches every cell.
        assert all(out[0].ne(out[1]).any(0).all() for out in outs), size


@pytest.mark.parametrize(('family', 'options'), variants())
def test_an_image_in_a_batch_gives_what_it_gives_alone(family, options):
    model = tiny(family, **options)
    x = images(50, 71, batch=3)
    with torch.no_grad():
        for together, alone in zip(model(x), model(x[1:2]), strict=True):
            torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize(('family', 'options'), variants('LSLS'))
@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_nothing_stays_of_another_size_or_weights(family, options, mode):
    model, other = tiny(family, **options), tiny(family, **options)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    x = images(64, 40)
    with mode():
        before, expected = model(x), other(x)
        model(images(37, 90))
        for first, second in zip(before, model(x), strict=True):
            assert torch.equal(first, second)
        assert not torch.allclose(before[0], expected[0])
        model.load_state_dict(other.state_dict())
        for first, second in zip(expected, model(x), strict=True):
            assert torch.equal(first, second)
    # What is kept from inference must not get into a backward pass, and what
    # one backward pass has used not into the next.
    for _ in range(2):
        sum(out.square().sum() for out in model(x)).backward()
        assert all(p.grad.any() for p in model.parameters())
        model.zero_grad()
    # An update that no counter of torch sees, as averaged weights make it.
    for parameter in model.parameters():
        parameter.data.div_(1.1)
    model.train().eval()
    with torch.no_grad():
        for first, second in zip(before, model(x), strict=True):
            torch.testing.assert_close(first, second)


def through_final_norm(model, maps):
    """A map of a plain transformer, after the norm of its last block."""
    return model.norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize('out_indices', [(0,), (1, 3), (2,), (3,)])
@pytest.mark.parametrize('family', ALL)
def test_out_indices_choose_among_the_maps(full, family, out_indices):
    whole, model = full[family], tiny(family, out_indices=out_indices)
    names = model.state_dict().keys()
    # Nothing is built that no map needs.
    unused = family in NORMED or 3 not in out_indices
    assert (len(names) < len(whole.state_dict())) == unused
    state = whole.state_dict()
    model.load_state_dict({name: state[name] for name in names})
    x = images(50, 60)
    with torch.no_grad():
        maps, outs = whole(x), model(x)
        for i, out in zip(out_indices, outs, strict=True):
            want = maps[i]
            if family in PLAINS and i == out_indices[-1] < 3:
                want = through_final_norm(model, want)
            assert torch.equal(out, want)


@pytest.mark.parametrize('in_channels', [1, 4])
@pytest.mark.parametrize('family', ALL)
def test_in_channels(family, in_channels):
    model = tiny(family, in_channels=in_channels)
    outs = model(images(40, 60, channels=in_channels))
    assert [out.shape for out in outs] == map_shapes(model, (40, 60))
    with pytest.raises(ValueError, match=rf'\(B, {in_channels}, H, W\)'):
        model(images(40, 60))


@pytest.mark.parametrize(
    'shape',
    [
        (1, 1, 32, 32),
        (1, 4, 32, 32),
        (3, 32, 32),
        (1, 2, 3, 32, 32),
        (1, 3, 0, 8),
    ],
)
@pytest.mark.parametrize('family', ALL)
def test_bad_input(full, family, shape):
    with pytest.raises(ValueError, match=r'\(B, 3, H, W\)') as caught:
        full[family](torch.zeros(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(('family', 'options'), variants('LLLL', 'LSLS'))
def test_low_precision(family, options, dtype):
    """Autocast and models of 16 bits: rounding, and nothing worse."""
    model = nano(family, **options).eval()
    x = images(64, 50)
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(x)
        with torch.autocast('cpu', dtype=dtype):
            mixed = model(x.float())
        pure = copy.deepcopy(model).to(dtype)(x.to(dtype))
    for outs in (mixed, pure):
        for out, exact in zip(outs, expected, strict=True):
            error = (out.double() - exact).square().mean().sqrt()
            limit = ROUNDING.get(family, 2) * torch.finfo(dtype).eps
            assert error / exact.std() < limit
    assert all(out.dtype == dtype for out in pure)


@pytest.mark.parametrize('family', ALL)
def test_save_copy_and_pickle(family, tmp_path):
    model = tiny(family, with_cp=True)
    x = images(64, 50)
    with torch.no_grad():
        expected = model(x)  # and tables are kept for this size
    path = tmp_path / 'weights.pth'
    torch.save(model.state_dict(), path)
    loaded = family_of(family)(**TINY[family]).double().eval()
    load_checkpoint(loaded, str(path))
    for other in (
        loaded,
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ):
        with torch.no_grad():
            for out, want in zip(other(x), expected, strict=True):
                assert torch.equal(out, want)


@pytest.mark.parametrize('family', ALL)
def test_a_classifier_becomes_a_backbone(family, tmp_path):
    source = tiny(family, out_indices=(3,))
    state = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    state['head.fc.weight'] = torch.randn(10, 32)
    path = str(tmp_path / 'classifier.pth')
    torch.save({'state_dict': state}, path)
    cfg = dict(type='Pretrained', checkpoint=path, prefix='backbone.')
    # Of all maps, and with stages or blocks left out.
    for out_indices in ((0, 1, 2, 3), (0, 1)):
        model = tiny(family, 1, init_cfg=cfg, out_indices=out_indices)
        model.init_weights()
        found = model.state_dict()
        shared = found.keys() & source.state_dict().keys()
        assert len(shared) > 0.3 * len(source.state_dict())
        for name in shared:
            assert torch.equal(found[name], source.state_dict()[name]), name
        # Output norms alone are not in the file.
        assert all(name.startswith('norm') for name in found.keys() - shared)


@pytest.mark.parametrize('prefix', ['encoder.', None])
@pytest.mark.parametrize('family', ALL)
def test_pretrained_of_another_arch_or_prefix(tmp_path, family, prefix):
    # The right arch under a prefix, or the wrong one without.
    source = tiny(family) if prefix else nano(family)
    path = tmp_path / 'weights.pth'
    state = {f'{prefix or ""}{k}': v for k, v in source.state_dict().items()}
    torch.save(state, path)
    model = tiny(
        family, init_cfg=dict(type='Pretrained', checkpoint=str(path))
    )
    with pytest.raises(ValueError, match=f'does not fit this {family}'):
        model.init_weights()
