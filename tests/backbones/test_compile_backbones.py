# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Compiled backbones: one graph, for images of any size."""

import pytest
import torch
from backbone_cases import PVT_SIZES, SIZES
from torch._dynamo.testing import CompileCounterWithBackend

from ivit import backbones

# One block of a kind and width is enough: graphs take seconds to make.
SHALLOW = dict(SIZES, depths=(1, 1, 2, 1))
PVT_SHALLOW = dict(PVT_SIZES, depths=(1, 1, 1, 1))
PLAIN = dict(arch=dict(dim=16, depth=1, num_heads=2), img_size=96)
SWIN = dict(arch=SHALLOW, img_size=96, window_size=3)
CSWIN = dict(arch=SHALLOW, img_size=96, split_sizes=(3, 3, 3, 3))
PVT = dict(arch=PVT_SHALLOW, img_size=96)
IVIT = dict(arch=SHALLOW, landmarks=(3, 3))
# Sides that the strides divide and odd ones, all with more than one window
# or landmark grid at stride 32, which are 96 pixels.
SIZES_SEEN = [(128, 160), (97, 131), (160, 224), (255, 100), (301, 129)]
CASES = {
    'pvt': ('FLattenPVT', PVT),
    'ivit': ('IViT', IVIT),
    'pvt-softmax': ('FLattenPVT', dict(PVT, attn_type='SSSS')),
    'pvt-v2': ('FLattenPVTv2', PVT),
    'swin': ('FLattenSwin', SWIN),
    'cswin': ('FLattenCSwin', CSWIN),
    'vit-interactive': (
        'PlainViT',
        dict(PLAIN, attention=dict(type='interactive', landmarks=(3, 3))),
    ),
    'ivit-attention': (
        'IViT',
        dict(IVIT, blocks=('attention',) * 4),
    ),
}
FAST = ('ivit',)
slow = pytest.mark.slow
SIZED = ('pvt', 'ivit', 'swin', 'pvt-softmax', 'pvt-v2', 'vit-interactive')
TRAINED = ('pvt', 'ivit', 'swin', 'cswin', 'vit-interactive', 'ivit-attention')


def params(names):
    """Cases by name; graphs of windows take longer."""
    return [
        pytest.param(*CASES[name], id=name, marks=() if name in FAST else slow)
        for name in names
    ]


def build(family, **options):
    """A small model, all of its parameters at random."""
    torch.manual_seed(0)
    model = getattr(backbones, family)(**options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def gradients(model, x):
    """Maps, and gradients by name."""
    model.zero_grad()
    torch.manual_seed(1)
    outs = model(x)
    sum((out**2).mean() for out in outs).backward()
    grads = {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return outs, grads


@pytest.fixture(autouse=True)
def no_graphs_are_left():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize(('family', 'options'), params(SIZED))
def test_one_graph_serves_images_of_any_size(family, options):
    model = build(family, **options).eval()
    counter = CompileCounterWithBackend('eager')
    compiled = torch.compile(
        model, backend=counter, fullgraph=True, dynamic=True
    )
    with torch.no_grad():
        for size in SIZES_SEEN:
            x = torch.randn(2, 3, *size)
            for out, want in zip(compiled(x), model(x), strict=True):
                torch.testing.assert_close(out, want)
            assert counter.frame_count == 1, size


@pytest.mark.parametrize(
    ('family', 'options'), params(sorted(CASES.keys() - set(SIZED)))
)
def test_inference_is_one_graph(family, options):
    model = build(family, **options).eval()
    compiled = torch.compile(model, backend='eager', fullgraph=True)
    x = torch.randn(2, 3, 128, 160)
    with torch.no_grad():
        for out, want in zip(compiled(x), model(x), strict=True):
            torch.testing.assert_close(out, want)


@pytest.mark.parametrize(('family', 'options'), params(('swin',)))
def test_training_takes_images_of_any_size_in_one_graph(family, options):
    """The graphs for autograd ask more than those above."""
    plain, model = build(family, **options), build(family, **options)
    counter = CompileCounterWithBackend('aot_eager')
    # As CompileBackboneHook does; else each graph is made twice.
    with torch._dynamo.config.patch(specialize_float=True):
        model.compile(backend=counter, fullgraph=True, dynamic=True)
        for size in SIZES_SEEN[:3]:
            x = torch.randn(2, 3, *size)
            (outs, want), (founds, found) = (
                gradients(plain, x),
                gradients(model, x),
            )
            torch.testing.assert_close(founds, outs)
            for name, grad in want.items():
                scale = grad.abs().max()
                error = (found[name] - grad).abs().max()
                assert error <= 1e-4 * scale, (name, size)
            assert counter.frame_count == 1, size


@pytest.mark.parametrize(('family', 'options'), params(TRAINED))
def test_training_is_one_graph(family, options):
    """Frozen and recomputed blocks, dropped paths and batch norms included."""
    options = dict(options, drop_path_rate=0.3, frozen_stages=1)
    plain = build(family, **options).double()
    model = build(family, **options, with_cp=True).double()
    model.compile(backend='aot_eager', fullgraph=True)
    x = torch.randn(2, 3, 96, 70).double()
    (_, want), (_, found) = gradients(plain, x), gradients(model, x)
    assert want.keys() == found.keys()
    for name, grad in want.items():
        torch.testing.assert_close(found[name], grad)
    for name, value in plain.state_dict().items():  # batch norms' statistics
        torch.testing.assert_close(model.state_dict()[name], value)
