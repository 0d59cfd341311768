# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
from mmengine.config import ConfigDict

from ivit.nested import iterate_dicts, iterate_nested

CONFIG = dict(
    type='A',
    widths=[1, 2],
    parts=(dict(type='B', last=dict(type='C')), [dict(type='D')]),
    empty={},
)


def test_keys_and_order():
    assert [key for key, _ in iterate_nested(CONFIG)] == [
        '',
        'type',
        'widths',
        'widths.0',
        'widths.1',
        'parts',
        'parts.0',
        'parts.0.type',
        'parts.0.last',
        'parts.0.last.type',
        'parts.1',
        'parts.1.0',
        'parts.1.0.type',
        'empty',
    ]
    values = dict(iterate_nested(CONFIG))
    assert values[''] is CONFIG
    assert values['widths.1'] == 2
    assert values['parts.0.last'] == dict(type='C')


def test_dicts():
    kinds = [node.get('type') for node in iterate_dicts(CONFIG)]
    assert kinds == ['A', 'B', 'C', 'D', None]
    assert list(iterate_dicts(None)) == []


def test_dicts_can_be_changed_on_the_way():
    config = ConfigDict(a=dict(type='SyncBN'), b=[dict(type='SyncBN')])
    for node in iterate_dicts(config):
        if 'type' in node:
            node['type'] = 'BN'
    assert config == dict(a=dict(type='BN'), b=[dict(type='BN')])
