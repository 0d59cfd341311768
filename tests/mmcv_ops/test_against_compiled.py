# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""mmcv.ops as installed, against stored results of compiled operators."""

import numpy as np
import pytest
from op_cases import CASES, load, run

# Exact where the arithmetic is the same, sums of float32 samples otherwise;
# exp differs in the last bit between maths libraries.
TOLERANCE = {'roi_align': 1e-5, 'soft_nms': 1e-6, 'batched_nms': 1e-6}


def stored():
    for op in CASES:
        for name, *case in load(op):
            yield pytest.param(op, *case, id=f'{op}-{name}')


@pytest.mark.parametrize(('op', 'args', 'inputs', 'results'), stored())
def test_equals_compiled(op, args, inputs, results):
    outputs = run(op, args, inputs)
    assert len(outputs) == len(results)
    for output, result in zip(outputs, results, strict=True):
        assert output.shape == result.shape
        assert output.dtype == result.dtype
        tolerance = TOLERANCE.get(op, 0) if output.dtype.kind == 'f' else 0
        np.testing.assert_allclose(output, result, tolerance, tolerance)


def test_data_holds_every_kind_of_result():
    sizes = {op: [r[0].size for *_, r in load(op)] for op in CASES}
    assert all(max(size) > 0 for size in sizes.values())
    assert all(0 in sizes[op] for op in ('nms', 'soft_nms', 'roi_align'))
