# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The ImageNet configs say what the recipes of their families say.

FLatten's are written out from what its authors publish, iViT's is ours;
docs/configs.md tells what each has.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, MODELS, PARAM_SCHEDULERS
from PIL import Image

from ivit.engine import UsageError
from ivit.preflight.paths import check_paths

# The epochs at which warm-up, cosine and training end; the share of the peak
# that the learning rate falls to.
SWIN = dict(
    warm_up=20, decay=0.05, least=0.005, cosine=300, epochs=300, clip=5.0
)
PVT = dict(
    warm_up=5, decay=0.05, least=0.01, cosine=300, epochs=310, clip=None
)
CSWIN = dict(PVT, warm_up=20, ema=0.99984)
IVIT = dict(
    warm_up=20, decay=0.05, least=0.01, cosine=300, epochs=300, clip=1.0
)
SWIN_384 = dict(
    SWIN, warm_up=5, decay=1e-8, least=0.01, cosine=30, epochs=30, peak=2e-5
)
CSWIN_384 = dict(
    CSWIN,
    ema=0.99982,
    warm_up=0,
    decay=1e-8,
    least=0.1,
    cosine=20,
    epochs=30,
    peak=5e-6,
)


def row(recipe, drop_path, images, parameters, **changes):
    """A recipe with stochastic depth, images a GPU, size of the model."""
    return dict(
        recipe,
        drop_path=drop_path,
        images=images,
        parameters=parameters,
        **changes,
    )


# Parameters with the classifier: FLatten's are those of the authors' models,
# less a norm of 1,024 that their PVT has and does not use.
RECIPES = {
    'ivit_t_imagenet': row(IVIT, 0.1, 128, 10.2e6),
    'ivit_s_imagenet': row(IVIT, 0.2, 128, 25.7e6),
    'ivit_b_imagenet': row(IVIT, 0.3, 128, 51.4e6),
    'flatten_swin_t_imagenet': row(SWIN, 0.2, 128, 29192384),
    'flatten_swin_s_imagenet': row(SWIN, 0.3, 128, 50510288),
    'flatten_swin_b_imagenet': row(SWIN, 0.5, 64, 88972488),
    'flatten_pvt_t_imagenet': row(PVT, 0.1, 128, 12150504 - 1024),
    'flatten_pvt_s_imagenet': row(PVT, 0.1, 64, 21670248 - 1024),
    'flatten_pvt_m_imagenet': row(PVT, 0.3, 64, 37242216 - 1024, clip=1.0),
    'flatten_pvt_b_imagenet': row(PVT, 0.3, 32, 50649192 - 1024, clip=1.0),
    'flatten_pvt_v2_b0_imagenet': row(PVT, 0.1, 128, 3594824),
    'flatten_pvt_v2_b1_imagenet': row(PVT, 0.1, 128, 12931240),
    'flatten_pvt_v2_b2_imagenet': row(PVT, 0.1, 128, 22548264),
    'flatten_pvt_v2_b3_imagenet': row(PVT, 0.3, 128, 38273832, clip=1.0),
    'flatten_pvt_v2_b4_imagenet': row(PVT, 0.3, 64, 51836968, clip=1.0),
    'flatten_pvt_v2_b5_imagenet': row(PVT, 0.3, 64, 67061544, clip=1.0),
    'flatten_cswin_t_imagenet': row(CSWIN, 0.2, 256, 21201768),
    'flatten_cswin_s_imagenet': row(CSWIN, 0.4, 128, 35451752),
    'flatten_cswin_b_imagenet': row(
        CSWIN, 0.5, 64, 74867032, decay=0.1, ema=0.99982
    ),
    'flatten_swin_b_imagenet_384': row(SWIN_384, 0.5, 64, 91433928),
    'flatten_cswin_b_imagenet_384': row(CSWIN_384, 0.7, 64, 78369112),
}
ONE_OF_EACH = [
    'ivit_t_imagenet',
    'flatten_swin_t_imagenet',
    'flatten_pvt_t_imagenet',
    'flatten_pvt_v2_b0_imagenet',
    'flatten_cswin_t_imagenet',
    'flatten_swin_b_imagenet_384',
    'flatten_cswin_b_imagenet_384',
]
BACKBONES = {
    'ivit': 'IViT',
    'flatten_swin': 'FLattenSwin',
    'flatten_pvt': 'FLattenPVT',
    'flatten_pvt_v2': 'FLattenPVTv2',
    'flatten_cswin': 'FLattenCSwin',
}
every = pytest.mark.parametrize('name', RECIPES)
one_of_each = pytest.mark.parametrize('name', ONE_OF_EACH)


def build(cfg):
    """The model as the runner builds it."""
    return MODELS.build(
        dict(cfg.model, data_preprocessor=cfg.data_preprocessor)
    )


def small(cfg):
    """The config with one block in each stage of the smallest arch."""
    backbone = cfg.model.backbone
    arch = MODELS.get(backbone.type).arch_settings['n']
    backbone.arch = dict(arch, depths=(1, 1, 1, 1))
    cfg.model.head.in_channels = arch['dims'][-1]
    return cfg


def test_all_are_there():
    configs = (Path(__file__).parents[2] / 'configs').glob('*_imagenet*.py')
    assert {path.stem for path in configs} == set(RECIPES)


@every
def test_model(name, load):
    cfg, recipe = load(name), RECIPES[name]
    family, arch = name.partition('_imagenet')[0].rsplit('_', 1)
    with torch.device('meta'):
        model = build(cfg)
    backbone = cfg.model.backbone
    assert backbone.type == BACKBONES[family]
    assert backbone.arch == arch
    assert backbone.drop_path_rate == recipe['drop_path']
    assert backbone.get('img_size', 224) == (384 if '384' in name else 224)
    parameters = sum(p.numel() for p in model.parameters())
    if family == 'ivit':  # in docs/ivit.md, rounded
        assert parameters == pytest.approx(recipe['parameters'], abs=0.05e6)
    else:
        assert parameters == recipe['parameters']
    assert model.head.fc.out_features == 1000
    loss = model.head.loss_module
    assert type(loss).__name__ == 'LabelSmoothLoss'
    assert loss.label_smooth_val == 0.1
    assert loss.mode == 'original'
    mixes = model.data_preprocessor.batch_augments.augments
    assert [(type(mix).__name__, mix.alpha) for mix in mixes] == [
        ('Mixup', 0.8),
        ('CutMix', 1.0),
    ]
    assert cfg.custom_imports.imports == ['ivit']


@every
def test_learning_rate(name, load):
    cfg, recipe = load(name), RECIPES[name]
    assert cfg.train_dataloader.batch_size == recipe['images']
    assert cfg.train_cfg.max_epochs == recipe['epochs']
    # On eight GPUs.
    images = 8 * recipe['images']
    peak = recipe.get('peak', 5e-4 * images / 512)
    assert cfg.auto_scale_lr.enable
    scaled = images / cfg.auto_scale_lr.base_batch_size
    optimizer = torch.optim.SGD(
        [torch.zeros(1, requires_grad=True)],
        lr=cfg.optim_wrapper.optimizer.lr * scaled,
    )
    epoch = 4  # steps
    schedulers = [
        PARAM_SCHEDULERS.build(
            dict(item),
            default_args=dict(optimizer=optimizer, epoch_length=epoch),
        )
        for item in cfg.param_scheduler
    ]
    rates = []
    for _ in range(epoch * recipe['epochs']):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    begin, end = epoch * recipe['warm_up'], epoch * recipe['cosine']
    if begin:
        assert rates[0] == pytest.approx(peak / 1000)
        assert (np.diff(rates[:begin]) > 0).all()
    assert max(rates) == pytest.approx(peak)
    steps = np.arange(end - begin)
    least = recipe['least'] * peak
    cosine = least + (peak - least) * 0.5 * (
        1 + np.cos(np.pi * steps / (end - begin))
    )
    assert rates[begin:end] == pytest.approx(cosine, rel=1e-6)
    # The cool-down: mmengine stops a step before the cosine's end.
    assert rates[end:] == pytest.approx([rates[end - 1]] * len(rates[end:]))
    assert rates[-1] == pytest.approx(least, rel=0.03)


@every
def test_optimizer(name, load):
    cfg, recipe = small(load(name)), RECIPES[name]
    model = build(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    assert type(wrapper.optimizer) is torch.optim.AdamW
    assert wrapper.optimizer.defaults['betas'] == (0.9, 0.999)
    assert wrapper.optimizer.defaults['eps'] == 1e-8
    decay = {
        parameter: group['weight_decay']
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    for key, parameter in model.named_parameters():
        free = parameter.ndim == 1 or 'relative_position_bias_table' in key
        assert decay[parameter] == (0 if free else recipe['decay']), key
    clip = recipe['clip']
    expected = dict(max_norm=clip) if clip else None
    assert wrapper.clip_grad_kwargs == expected
    averaged = [HOOKS.build(hook) for hook in cfg.get('custom_hooks', [])]
    if 'ema' in recipe:
        assert [type(hook).__name__ for hook in averaged] == ['EMAHook']
        ema = averaged[0].ema_cfg
        assert ema['type'] == 'ExponentialMovingAverage'
        assert ema['momentum'] == pytest.approx(1 - recipe['ema'])
    else:
        assert averaged == []


@one_of_each
def test_trains_a_step_and_predicts(name, load):
    from mmpretrain.structures import DataSample

    torch.manual_seed(0)
    np.random.seed(0)
    cfg = small(load(name))
    model = build(cfg)
    model.init_weights()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    inputs = [torch.randint(0, 256, (3, 64, 64)).byte() for _ in range(4)]
    samples = [DataSample().set_gt_label(i) for i in (3, 9, 99, 999)]
    data = dict(inputs=inputs, data_samples=samples)
    mixed = model.data_preprocessor(data, training=True)
    targets = torch.stack([item.gt_score for item in mixed['data_samples']])
    assert targets.sum(1).tolist() == pytest.approx([1] * 4)
    assert (targets > 0).sum() > len(targets)
    loss, _ = model.parse_losses(model(**mixed, mode='loss'))
    # The log of 1,000 classes, nearly.
    assert loss.item() == pytest.approx(np.log(1000), rel=0.1)
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
    before = model.head.fc.weight.clone()
    wrapper.step()
    assert not torch.equal(model.head.fc.weight, before)
    model.eval()
    with torch.no_grad():
        results = model.test_step(data)
    assert [result.pred_score.shape for result in results] == [(1000,)] * 4


@pytest.fixture
def picture(tmp_path):
    """An image of 120 x 160, stored without loss."""
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3))
    path = tmp_path / 'picture.png'
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return str(path)


EVALUATION = {
    # Size of the whole image, and what is cut out of its middle.
    'ivit_t_imagenet': ((341, 256), 224),
    'flatten_swin_t_imagenet': ((256, 256), 224),
    'flatten_pvt_t_imagenet': ((256, 256), 224),
    'flatten_pvt_v2_b0_imagenet': ((256, 256), 224),
    'flatten_cswin_t_imagenet': ((256, 256), 224),
    'flatten_swin_b_imagenet_384': ((384, 384), 384),
    'flatten_cswin_b_imagenet_384': ((438, 438), 384),
}


@one_of_each
def test_pipelines_run(name, load, picture):
    cfg = load(name)
    (width, height), side = EVALUATION[name]
    resized = Image.open(picture).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    left, top = round((width - side) / 2), round((height - side) / 2)
    whole = resized.crop((left, top, left + side, top + side))
    expected = torch.from_numpy(np.array(whole)).permute(2, 0, 1)
    for part in ('val', 'test'):
        pipeline = Compose(cfg[f'{part}_dataloader'].dataset.pipeline)
        out = pipeline(dict(img_path=picture, gt_label=1))['inputs']
        assert torch.equal(out.flip(0), expected), part  # BGR
    np.random.seed(0)
    pipeline = Compose(cfg.train_dataloader.dataset.pipeline)
    for _ in range(5):
        out = pipeline(dict(img_path=picture, gt_label=1))['inputs']
        assert out.shape == (3, side, side)
    data = build(small(cfg)).data_preprocessor(dict(inputs=[expected.flip(0)]))
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    torch.testing.assert_close(
        data['inputs'][0], (expected / 255 - mean) / std, rtol=0, atol=1e-4
    )


@every
def test_data(name, load):
    cfg, same = load(name), load('flatten_swin_t_imagenet')
    if '384' not in name:
        train = cfg.train_dataloader.dataset
        assert train == same.train_dataloader.dataset
        if 'ivit' not in name:
            test = cfg.test_dataloader.dataset
            assert test == same.test_dataloader.dataset
    steps = {step.type: step for step in cfg.train_pipeline}
    augment = steps['RandAugment']
    assert augment.policies == 'timm_increasing'
    assert augment.num_policies == 2
    assert (augment.magnitude_level, augment.magnitude_std) == (9, 0.5)
    assert steps['RandomErasing'].erase_prob == 0.25
    assert steps['RandomErasing'].mode == 'rand'
    crop = steps['RandomResizedCrop']
    assert crop.interpolation == 'bicubic'
    for part, folder in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert dataset.type == 'ImageNet'
        assert dataset.data_root == 'data/imagenet'
        assert dataset.split == folder
    assert cfg.val_dataloader == cfg.test_dataloader


def test_missing_data_is_named(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = load('flatten_swin_t_imagenet')
    folder = tmp_path / 'data' / 'imagenet'
    with pytest.raises(UsageError, match=f'{folder} with train, val'):
        check_paths(cfg, ('train', 'val'))
    (folder / 'train' / 'n01440764').mkdir(parents=True)
    with pytest.raises(UsageError, match=f'{folder}/val'):
        check_paths(cfg, ('train', 'val'))
    (folder / 'val' / 'n01440764').mkdir(parents=True)
    check_paths(cfg, ('train', 'val', 'test'))


@pytest.mark.parametrize('family', ['swin', 'cswin'])
def test_384_starts_from_224(family, load):
    name = f'flatten_{family}_b_imagenet'
    old, new = build(small(load(name))), build(small(load(f'{name}_384')))
    torch.nn.init.normal_(old.head.fc.weight)
    new.load_state_dict(old.state_dict())
    assert torch.equal(new.head.fc.weight, old.head.fc.weight)
    tables = [key for key, _ in new.named_parameters() if 'positional' in key]
    assert tables
    weights = dict(old.named_parameters())
    for key, value in new.named_parameters():
        if value.shape == weights[key].shape:
            assert torch.equal(value, weights[key]), key
        else:
            assert 'position' in key
