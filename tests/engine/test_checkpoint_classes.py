# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A checkpoint of other classes is refused, and a moved one is found."""

import pytest

from ivit.engine import UsageError, check_classes, find_last_checkpoint

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
    folder, old = tmp_path / 'copy', tmp_path / 'original'
    folder.mkdir()
    old.mkdir()
    option = '--resume CHECKPOINT'
    assert find_last_checkpoint(folder, option) is None
    written = old / 'epoch_3.pth'
    (folder / 'last_checkpoint').write_text(str(written))
    with pytest.raises(UsageError, match='epoch_3.pth') as caught:
        find_last_checkpoint(folder, option)
    assert option in str(caught.value)
    written.touch()
    assert find_last_checkpoint(folder, option) == written
    # A copy goes on from its own checkpoint, not from the original's.
    own = folder / 'epoch_3.pth'
    own.touch()
    assert find_last_checkpoint(folder, option) == own
