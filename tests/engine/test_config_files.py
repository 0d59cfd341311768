# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Configs by path and by name."""

from pathlib import Path

import pytest

from ivit.engine import (
    UsageError,
    find_config,
    load_config,
    packaged_configs,
)

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
NAME = 'mask_rcnn_ivit_s_coco'


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')


def test_the_package_has_all_configs():
    found = {path.resolve() for path in packaged_configs().values()}
    assert found == {*CONFIGS.glob('*.py')}


def test_by_name_and_by_path(tmp_path):
    assert find_config(NAME).samefile(CONFIGS / f'{NAME}.py')
    assert find_config(str(CONFIGS / f'{NAME}.py')) == CONFIGS / f'{NAME}.py'
    (tmp_path / NAME).write_text('a = 1\n')
    assert find_config(NAME) == Path(NAME)  # the path wins


def test_the_name_is_enough_to_load():
    cfg = load_config(NAME)
    assert cfg.model.backbone.type == 'IViT'
    assert cfg.work_dir == f'work_dirs/{NAME}'


@pytest.mark.parametrize('suffix', ['', '.py'])
def test_neither(tmp_path, suffix):
    with pytest.raises(UsageError) as caught:
        find_config(f'mask_rcn_ivit_s_coco{suffix}')
    message = str(caught.value)
    assert str(tmp_path / 'mask_rcn_ivit_s_coco') in message
    assert NAME in message
    assert '\n' not in message
