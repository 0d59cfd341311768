# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A checkpoint of other classes is refused, and a moved one is found."""

import pytest

from ivit.engine import UsageError, check_classes, moved_checkpoint

CLASSES = ('cat', 'dog', 'bird')


def checkpoint(classes):
    return dict(meta=dict(dataset_meta=dict(classes=classes)))


@pytest.mark.parametrize(
    'asked', [('bird', 'dog', 'cat'), ('cat', 'dog'), ('cat', 'dog', 'Bird')]
)
def test_other_classes(asked):
    with pytest.raises(UsageError) as caught:
        check_classes(asked, checkpoint(CLASSES))
    for name in (*asked, *CLASSES):
        assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ('asked', 'content'),
    [
        (CLASSES, checkpoint(list(CLASSES))),
        (list(CLASSES), checkpoint(CLASSES)),
        (None, checkpoint(CLASSES)),
        (CLASSES, checkpoint(None)),
        (CLASSES, dict(meta=dict())),
        (CLASSES, dict()),
    ],
)
def test_the_same_classes_or_none(asked, content):
    check_classes(asked, content)


def test_where_the_latest_checkpoint_is(tmp_path):
    assert moved_checkpoint(tmp_path) is None
    note = tmp_path / 'last_checkpoint'
    note.write_text('/nowhere/epoch_3.pth')
    with pytest.raises(UsageError, match='epoch_3.pth'):
        moved_checkpoint(tmp_path)
    here = tmp_path / 'epoch_3.pth'
    here.touch()
    assert moved_checkpoint(tmp_path) == str(here)
    note.write_text(str(here))
    assert moved_checkpoint(tmp_path) is None
