# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The arguments that all backbones share, and how they are shown."""

import inspect
import re

import pytest
from backbone_cases import ALL, FLATTEN, PYRAMIDS, TINY, family_of

# With their defaults.
SHARED = dict(
    in_channels=3,
    out_indices=None,
    drop_path_rate=0.0,
    frozen_stages=-1,
    with_cp=False,
    init_cfg=None,
)
SHARED_BY_FLATTEN = dict(
    img_size=224, tile_size=None, focusing_factor=3, kernel_size=5
)


def passed_on(family):
    """The arguments that the constructor of a family passes on."""
    return SHARED | (SHARED_BY_FLATTEN if family in FLATTEN else {})


@pytest.mark.parametrize('family', ALL)
def test_the_signature_lists_every_argument(family):
    parameters = inspect.signature(family_of(family)).parameters
    assert 'self' not in parameters
    for parameter in parameters.values():
        assert parameter.kind is not parameter.VAR_KEYWORD
    for name, default in passed_on(family).items():
        assert parameters[name].default == default, name
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert set(TINY[family]) <= set(parameters)


@pytest.mark.parametrize('family', ALL)
def test_the_docstring_describes_every_argument_once(family):
    cls = family_of(family)
    described = re.findall(r'^ {4}(\w+): ', inspect.getdoc(cls), re.MULTILINE)
    arguments = [name for name in described if name != 'ValueError']
    assert sorted(arguments) == sorted(inspect.signature(cls).parameters)


@pytest.mark.parametrize('family', ALL)
def test_a_misspelt_argument_is_named(family):
    with pytest.raises(TypeError, match='drop_path_rat'):
        family_of(family)(**TINY[family], drop_path_rat=0.1)


BAD = [
    (dict(arch='xl'), "arch='xl' .*'n'"),
    (dict(arch=['t']), r"arch=\['t'\]"),
    (dict(arch=dict(width=3)), r"arch={'width': 3}.*depth.*dim.*num_heads"),
    (dict(in_channels=0), 'in_channels=0'),
    (dict(out_indices=()), r'out_indices=\(\)'),
    (dict(out_indices=(0, 4)), r'out_indices=\(0, 4\).*0 to 3'),
    (dict(out_indices=(-1,)), r'out_indices=\(-1,\)'),
    (dict(out_indices=(2, 0)), r'out_indices=\(2, 0\)'),
    (dict(out_indices=(1, 1)), r'out_indices=\(1, 1\)'),
    (dict(out_indices=3), 'out_indices=3'),
    (dict(frozen_stages=5), 'frozen_stages=5'),
    (dict(frozen_stages=-2), 'frozen_stages=-2'),
    (dict(out_indices=(1,), frozen_stages=3), 'frozen_stages=3 .* to 2'),
    (dict(drop_path_rate=1.0), 'drop_path_rate=1.0'),
    (dict(drop_path_rate=-0.1), 'drop_path_rate=-0.1'),
    *(
        (dict(with_cp=with_cp), 'with_cp=.*from 0 to 3')
        for with_cp in ((4,), (0, -1), 1, 'all', None, ([0],))
    ),
]
# Of a pyramid's arch.
BAD_ARCH = [
    (dict(dims=8), r"'dims'\]=8"),
    (dict(depths=(1, 1, 1)), r"'depths'\]=\(1, 1, 1\)"),
    (dict(depths=(1, 0, 1, 1)), r'\(1, 0, 1, 1\) .* at least 1'),
    (dict(depths=(1.5, 1, 1, 1)), r'\(1.5, 1, 1, 1\)'),
    (dict(width=3), "'width'"),
    (dict(num_heads=(2, 2, 2, 3)), 'num_heads=3 .*dim=32'),
]


@pytest.mark.parametrize(('kwargs', 'message'), BAD)
@pytest.mark.parametrize('family', ALL)
def test_bad_arguments(family, kwargs, message):
    with pytest.raises(ValueError, match=message):
        family_of(family)(**{**TINY[family], **kwargs})


@pytest.mark.parametrize(('change', 'message'), BAD_ARCH)
@pytest.mark.parametrize(
    ('family', 'options'),
    [(f, dict(attn_type=t)) for f in FLATTEN for t in ('LLLL', 'SSSS')]
    + [(f, {}) for f in PYRAMIDS if f not in FLATTEN],
)
def test_bad_arch(family, options, change, message):
    arch = {**TINY[family]['arch'], **change}
    with pytest.raises(ValueError, match=message):
        family_of(family)(**{**TINY[family], **options, 'arch': arch})
