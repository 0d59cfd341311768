# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import pytest
import torch
from mmcv.ops import RoIAlign, roi_align


def test_ramp():
    # Bilinear samples of x + 10 y average to the value at the bin's centre;
    # aligned, pixel (i, j) has its centre at (i + 0.5, j + 0.5).
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing='ij')
    rois = torch.tensor([[0.0, 2, 4, 10, 12]])
    for aligned, shift in ((True, -0.5), (False, 0.0)):
        output = roi_align(
            (x + 10 * y)[None, None], rois, 2, 0.5, 2, 'avg', aligned
        )
        column = torch.tensor([2.0, 4.0]) + shift
        row = torch.tensor([3.0, 5.0]) + shift
        expected = column + 10 * row[:, None]
        torch.testing.assert_close(output[0, 0], expected)


@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
def test_gradient(ratio, aligned):
    torch.manual_seed(0)
    x = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor(
        [[0, -3, 1, 9, 8], [1, 2.3, 1.7, 6, 9], [1, 90, 90, 99, 99]],
        dtype=torch.float64,
    )
    layer = RoIAlign((2, 3), 0.5, ratio, aligned=aligned)
    assert torch.autograd.gradcheck(lambda x: layer(x, rois), x)


def test_no_regions_give_a_zero_gradient():
    x = torch.randn(1, 2, 5, 5, requires_grad=True)
    output = roi_align(x, torch.zeros(0, 5), 7)
    assert output.shape == (0, 2, 7, 7)
    output.sum().backward()
    assert x.grad.shape == x.shape
    assert not x.grad.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('autocast', [True, False])
def test_half_precision(ops, dtype, autocast):
    torch.manual_seed(1)
    x = torch.randn(2, 3, 9, 9).to(dtype).requires_grad_()
    rois = torch.tensor([[0.0, 1, 2, 8, 7], [1, 0, 0, 4, 4]]).to(dtype)
    exact = x.detach().double().requires_grad_()
    with torch.autocast('cpu', dtype, enabled=autocast):
        output = ops.roi_align(x, rois, 3)
    expected = ops.roi_align(exact, rois.double(), 3)
    assert output.dtype == dtype
    # One rounding of the result, however many samples it is made of.
    torch.testing.assert_close(output, expected.to(dtype))
    grad = torch.randn_like(output)
    output.backward(grad)
    expected.backward(grad.double())
    assert x.grad.dtype == dtype
    torch.testing.assert_close(x.grad, exact.grad.to(dtype))


def test_max_mode_is_refused(ops):
    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        ops.roi_align(torch.ones(1, 1, 4, 4), torch.ones(1, 5), 2, 1, 0, 'max')
