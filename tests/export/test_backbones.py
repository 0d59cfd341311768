# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Backbones as one graph, by ONNX and by torch.export, at any size."""

import pytest
import torch
from torch.export import Dim

from ivit import backbones

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
slow = pytest.mark.slow
# Some that are marked so are enough: graphs take half a minute to make.
exhaustive = (slow, pytest.mark.exhaustive)

TRACED = (2, 3, 224, 160)
# Batch, height and width: traced sides, whole windows, maps smaller than the
# grid of landmarks or a window, odd sides, one cell, far from square.
SIZES = [
    (1, 224, 160),
    (3, 224, 224),
    (1, 64, 64),
    (2, 101, 77),
    (1, 32, 32),
    (1, 33, 47),
    (1, 400, 333),
    (1, 48, 640),
]
# Float32 rounds by 6e-8. Through some 100 operations that each sum up to
# 10 000 numbers, 1e-4 of the largest number is rounding; a token or a weight
# in the wrong place shows in the first digit.
TOLERANCE = 1e-4
SMALL = dict(dims=(8, 16, 24, 32), depths=(1, 1, 2, 1), num_heads=(1, 2, 3, 4))
PVT_SMALL = dict(SMALL, mlp_ratios=(2, 2, 2, 2))
PLAIN = dict(dim=16, depth=1, num_heads=2)
N = dict(arch='n')
# Every option that changes the graph.
CASES = {
    'ivit-stage': (
        'IViT',
        dict(arch=SMALL, blocks=('attention',) * 4, out_indices=(0,)),
    ),
    'swin-stage': (
        'FLattenSwin',
        dict(
            arch=dict(SMALL, depths=(2, 1, 1, 1)),
            attn_type='SSSS',
            out_indices=(0,),
        ),
    ),
    'ivit': ('IViT', dict(arch=SMALL)),
    'deit': ('FLattenDeiT', dict(arch=PLAIN)),
    'vit': ('PlainViT', dict(arch=PLAIN)),
    'vit-interactive': (
        'PlainViT',
        dict(arch=PLAIN, attention='interactive'),
    ),
    'ivit-landmarks': ('IViT', dict(arch=SMALL, landmarks=(3, 10))),
    'ivit-whole': ('IViT', dict(arch=SMALL, decomposed=False)),
    'ivit-plain': ('IViT', dict(arch=SMALL, interaction=None)),
    'ivit-mhsa': (
        'IViT',
        dict(arch=SMALL, decomposed=False, interaction=None),
    ),
    'ivit-pre': ('IViT', dict(arch=SMALL, interaction='pre')),
    'ivit-post': ('IViT', dict(arch=SMALL, interaction='post')),
    'ivit-attention': ('IViT', dict(arch=SMALL, blocks=('attention',) * 4)),
    'ivit-n': ('IViT', N),
    'swin-n': ('FLattenSwin', N),
    'swin-focused': ('FLattenSwin', dict(arch=SMALL, attn_type='LLLL')),
    'swin-softmax': ('FLattenSwin', dict(arch=SMALL, attn_type='SSSS')),
    'swin-mixed': ('FLattenSwin', dict(arch=SMALL, attn_type='LLMS1')),
    'swin-384': ('FLattenSwin', dict(arch=SMALL, img_size=384)),
    'swin-windows': (
        'FLattenSwin',
        dict(arch=SMALL, attn_type='SLSL', window_size=4, img_size=256),
    ),
    'swin-tiles': (
        'FLattenSwin',
        dict(arch=SMALL, attn_type='LLLL', tile_size=56),
    ),
    'pvt-n': ('FLattenPVT', N),
    'pvt-softmax': ('FLattenPVT', dict(arch=PVT_SMALL, attn_type='SSSS')),
    'pvt-384': ('FLattenPVT', dict(arch=PVT_SMALL, img_size=384)),
    'pvt-v2-n': ('FLattenPVTv2', N),
    'pvt-v2-softmax': (
        'FLattenPVTv2',
        dict(arch=PVT_SMALL, attn_type='SSSS'),
    ),
    'cswin-n': ('FLattenCSwin', N),
    'cswin-softmax': (
        'FLattenCSwin',
        dict(
            arch=dict(SMALL, num_heads=(2, 2, 2, 4)),
            attn_type='SSSS',
            split_sizes=(1, 2, 7, 7),
        ),
    ),
    'deit-t': ('FLattenDeiT', dict(arch='t')),
}
# One of each family, in its own form.
CHOSEN = ('ivit', 'swin-384', 'pvt-384', 'pvt-v2-n', 'cswin-n', 'deit')
FAMILIES = (
    'IViT',
    'FLattenSwin',
    'FLattenPVT',
    'FLattenPVTv2',
    'FLattenCSwin',
    'FLattenDeiT',
    'PlainViT',
)


def build(family, **options):
    """A model in evaluation mode, no parameter at zero or one."""
    torch.manual_seed(0)
    model = getattr(backbones, family)(**options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return model


def params(chosen):
    """All cases, of which some are enough."""
    return [
        pytest.param(
            *case, id=name, marks=slow if name in chosen else exhaustive
        )
        for name, case in CASES.items()
    ]


def free_sizes():
    """Batch, height and width are unknown."""
    return ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)


def check(run, model, sizes):
    """``run``, from images to maps, is the model at all sizes."""
    for batch, *size in sizes:
        x = torch.randn(batch, 3, *size)
        with torch.no_grad():
            wants = model(x)
        for found, want in zip(run(x), wants, strict=True):
            found = torch.as_tensor(found)
            assert found.shape == want.shape, (batch, size)
            error = (found - want).abs().max()
            assert error <= TOLERANCE * want.abs().max(), (batch, size)


def to_onnx(model, path):
    """The file, and what runs it."""
    with torch.no_grad():
        program = torch.onnx.export(
            model,
            (torch.rand(TRACED),),
            path,
            dynamo=True,
            dynamic_shapes=free_sizes(),
            opset_version=20,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    return program, lambda x: session.run(None, {name: x.numpy()})


@pytest.mark.parametrize(('family', 'options'), params(CHOSEN))
def test_one_onnx_file_serves_images_of_any_size(family, options, tmp_path):
    model = build(family, **options)
    program, run = to_onnx(model, tmp_path / 'model.onnx')
    check(run, model, SIZES)
    # Runtimes know the standard operators, and no functions of PyTorch's.
    assert {node.domain for node in program.model.graph} == {''}
    assert not program.model.functions


@pytest.mark.parametrize(
    ('family', 'arch'),
    [
        pytest.param(family, arch, marks=exhaustive)
        for family in FAMILIES
        for arch in getattr(backbones, family).arch_settings
    ],
)
def test_every_arch_exports(family, arch, tmp_path):
    model = build(family, arch=arch)
    _, run = to_onnx(model, tmp_path / 'model.onnx')
    check(run, model, [(1, 101, 77), (2, 256, 192)])


@pytest.mark.parametrize(('family', 'options'), params(CHOSEN[:1]))
def test_an_exported_program_serves_images_of_any_size(
    family, options, tmp_path
):
    model = build(family, **options)
    with torch.no_grad():
        program = torch.export.export(
            model, (torch.rand(TRACED),), dynamic_shapes=free_sizes()
        )
    path = tmp_path / 'model.pt2'
    torch.export.save(program, path)
    run = torch.export.load(path).module()
    # PyTorch's convolutions take a map of one cell for another case, so the
    # program is for images whose smallest map has two cells on each side.
    sizes = [size for size in SIZES if min(size[1:]) > 32]
    with torch.no_grad():
        check(run, model, sizes)
