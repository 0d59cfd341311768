# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The Triton kernels where there is no GPU."""

import importlib.util
import sys

import pytest

try:
    import triton
    import triton.language as tl

    import ivit.attention.focused.triton as package
    from ivit.attention.focused.triton import launch
except ImportError:
    triton = tl = None


def cut(x):
    """What a tensor core reads of a float32 number for TF32."""
    return (x.to(tl.int32, bitcast=True) & -0x2000).to(
        tl.float32, bitcast=True
    )


def matmul(a, b, PRECISION):  # noqa: N803
    """The kernels' product, where the interpreter knows no TF32."""
    if PRECISION == 'tf32':
        a, b = cut(a), cut(b)
    return tl.dot(a, b)


@pytest.fixture
def interpreted_triton():
    """The kernels in Triton's interpreter, as copies of their modules.

    Triton decides it where a kernel is decorated, and what it brings itself
    is decorated already, so that is decorated anew for as long.
    """
    if triton is None:
        pytest.skip('Triton is not installed')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TRITON_INTERPRET', '1')
        for name in ('sum', 'max'):
            patch.setattr(tl, name, triton.jit(getattr(tl, name).fn))
        replaced = {x: triton.jit(x) for x in (cut, matmul)}
        patch.setitem(globals(), 'cut', replaced[cut])
        for short in ('forward', 'backward'):
            name = getattr(launch, short).__name__
            spec = importlib.util.find_spec(name)
            copy = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, copy)
            spec.loader.exec_module(copy)
            assert hasattr(copy, 'matmul')
            copy.matmul = replaced[matmul]
            patch.setattr(launch, short, copy)
        yield package
