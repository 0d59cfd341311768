# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""``ivit.create`` and what ``feature_info`` tells of the maps."""

import logging
import pickle

import pytest
import torch
from backbone_cases import ALL, family_of, images
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from safetensors.torch import save_file

import ivit
from ivit.backbones.named import FAMILIES, named_backbones
from ivit.checkpoints import save_hashed

NAMES = list(named_backbones())
# The smallest of every family; the others are built with the slow tests.
SMALL = [name for name in NAMES if name.endswith(('_n', '_b0'))]
EACH = [
    pytest.param(name, marks=() if name in SMALL else pytest.mark.slow)
    for name in NAMES
]


def seeded(seed, *args, **kwargs):
    torch.manual_seed(seed)
    return ivit.create(*args, **kwargs)


def assert_same(model, state):
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name].to(value.dtype)), name


def test_every_family_has_a_name():
    assert {cls.__name__ for cls in FAMILIES.values()} == set(ALL)
    assert len(NAMES) == sum(len(family_of(f).arch_settings) for f in ALL)
    assert {
        *('ivit_n', 'ivit_b', 'flatten_swin_t', 'flatten_pvt_m', 'vit_s'),
        *('flatten_pvt_v2_b0', 'flatten_cswin_b', 'flatten_deit_t'),
    } < set(NAMES)


@pytest.mark.parametrize('name', EACH)
def test_feature_info_is_of_the_real_maps(name):
    model = ivit.create(name).eval()
    size = (70, 45)
    with torch.no_grad():
        maps = model(images(*size, batch=1).float())
    info = model.feature_info
    assert len(info.channels()) == len(info.reduction()) == len(maps)
    assert [tuple(m.shape) for m in maps] == [
        (1, channels, *(-(-side // stride) for side in size))
        for channels, stride in zip(
            info.channels(), info.reduction(), strict=True
        )
    ]


@pytest.mark.parametrize('name', SMALL)
def test_feature_info_is_of_those_in_out_indices(name):
    whole = ivit.create(name, out_indices=(0, 1, 2, 3)).feature_info
    model = ivit.create(name, out_indices=(1, 3))
    assert model.feature_info.channels() == whole.channels()[1::2]
    assert model.feature_info.reduction() == whole.reduction()[1::2]
    assert pickle.loads(pickle.dumps(model)).feature_info == model.feature_info


def test_feature_info_of_an_arch_of_ones_own():
    arch = dict(
        dims=(8, 16, 24, 40), depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)
    )
    info = ivit.backbones.IViT(arch, out_indices=(0, 3)).feature_info
    assert info.channels() == [8, 40]
    assert info.reduction() == [4, 32]


def test_it_begins_as_in_a_training():
    model = seeded(0, 'flatten_pvt_v2_b0')
    torch.manual_seed(0)
    same = MODELS.build(dict(type='FLattenPVTv2', arch='b0'))
    same.init_weights()
    assert type(model) is type(same)
    assert model.training
    assert_same(model, same.state_dict())


def test_options_go_to_the_backbone():
    model = ivit.create('vit_n', in_channels=1, attention='interactive')
    assert model(torch.rand(1, 1, 40, 40))[0].shape == (1, 64, 3, 3)


def test_a_gradient_reaches_every_parameter():
    model = ivit.create('ivit_n', landmarks=(3, 3))
    maps = model(torch.rand(2, 3, 70, 45))
    sum((m**3).mean() for m in maps).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('ivit_x', r"'ivit_x'. Near it are .*ivit_\w"),
        ('IViT_S', r"'IViT_S'. Near it are .*ivit_s"),
        ('flatten_swin', 'flatten_swin_t'),
        ('resnet50', r"'resnet50'. There are ivit_n, .*flatten_deit_b"),
        ('', 'There are ivit_n'),
    ],
)
def test_other_names(name, words):
    with pytest.raises(ValueError, match=words):
        ivit.create(name)


def test_other_arguments():
    with pytest.raises(TypeError):
        ivit.create()
    with pytest.raises(TypeError, match='outindices'):
        ivit.create('ivit_n', outindices=(3,))
    with pytest.raises(TypeError, match='arch'):
        ivit.create('ivit_n', arch='s')
    with pytest.raises(ValueError, match='^out_indices='):
        ivit.create('ivit_n', out_indices=(4,))


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_pretrained(tmp_path, ending):
    """Of a path, as it is and in half precision."""
    source = seeded(0, 'ivit_n')
    path = tmp_path / f'weights.{ending}'
    state = source.state_dict()
    if ending == 'pth':
        torch.save(dict(state_dict=state), path)
    else:
        state = {k: v.half() for k, v in state.items()}
        save_file(state, path)
    for given in (path, str(path)):
        assert_same(seeded(1, 'ivit_n', pretrained=given), state)


def test_pretrained_of_a_whole_model(tmp_path):
    source = seeded(0, 'ivit_n')
    state = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    content = dict(state_dict={**state, 'neck.a': torch.ones(2)}, meta={})
    for name in ('detector.pth', 'detector.safetensors'):
        path = save_hashed(content, tmp_path / name)
        loaded = seeded(1, 'ivit_n', out_indices=(1, 2), pretrained=path)
        assert_same(loaded, source.state_dict())


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('flatten_pvt_n', 'does not fit this IViT, it has the names of a FL'),
        ('ivit_t', 'does not fit this IViT.*of another shape'),
        (b'<!DOCTYPE html>', 'is not a checkpoint: it is a web page'),
        (None, 'checkpoint not found.*Weights that come with ivit'),
    ],
)
def test_pretrained_that_does_not_fit(tmp_path, content, words):
    path = tmp_path / 'weights.pth'
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        torch.save(ivit.create(content).state_dict(), path)
    message = f'ivit_n cannot begin with pretrained=.*weights.pth.*{words}'
    with pytest.raises(ValueError, match=message):
        ivit.create('ivit_n', pretrained=path)


def test_pretrained_and_init_cfg():
    with pytest.raises(ValueError, match="pretrained='a.pth' and init_cfg="):
        ivit.create('ivit_n', pretrained='a.pth', init_cfg=dict(type='Normal'))
    model = ivit.create('ivit_n', init_cfg=dict(type='Constant', val=2.0))
    assert model.init_cfg == dict(type='Constant', val=2.0)


def test_it_is_quiet():
    """mmengine logs two lines about every parameter."""
    logger = MMLogger.get_current_instance()
    level, heard = logger.level, []
    handler = logging.Handler(logging.INFO)
    handler.emit = heard.append
    logger.addHandler(handler)
    try:
        ivit.backbones.IViT('n').init_weights()
        assert len(heard) > 100
        heard.clear()
        ivit.create('ivit_n')
        with pytest.raises(ValueError, match='not found'):
            ivit.create('ivit_n', pretrained='absent.pth')
    finally:
        logger.removeHandler(handler)
    assert heard == []
    assert logger.level == level
