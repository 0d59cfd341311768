# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What a detector may be made of, so that a graph computes the same."""

from collections.abc import Mapping

INSTEAD = '`--part backbone` exports backbone and neck alone'


def require_class(part: object, classes: tuple[type, ...], role: str) -> None:
    """Refuse what is of another class; a subclass may compute otherwise.

    Args:
        part: A part of a detector.
        classes: The classes whose arithmetic the graph has.
        role: What the part is, for the error.

    Raises:
        ValueError: If the part is of none of the classes.
    """
    if type(part) not in classes:
        names = ', '.join(each.__name__ for each in classes)
        raise ValueError(
            f'cannot export a detector whose {role} is a '
            f'{type(part).__name__} (it may be: {names}); {INSTEAD}'
        )


def require(holds: bool, wrong: str) -> None:
    """Refuse a detector with an option that the graph does not compute.

    Args:
        holds: Whether the detector has what the graph needs.
        wrong: What it has instead.

    Raises:
        ValueError: If it does not.
    """
    if not holds:
        raise ValueError(f'cannot export a detector with {wrong}; {INSTEAD}')


def positive_number(test_cfg: Mapping, name: str) -> int:
    """A number of boxes from ``test_cfg``; the graph needs it fixed.

    Args:
        test_cfg: Of a head.
        name: Of the number.

    Raises:
        ValueError: If it is missing or not above 0.
    """
    number = test_cfg.get(name)
    if not isinstance(number, int) or number <= 0:
        raise ValueError(
            f'cannot export a detector whose test_cfg has {name}={number!r}: '
            'the graph has a fixed number of boxes. Set it above 0 in the '
            'config'
        )
    return number


def nms_threshold(test_cfg: Mapping) -> float:
    """The IoU above which a box is dropped.

    Args:
        test_cfg: Of a head.

    Raises:
        ValueError: If ``test_cfg.nms`` asks for anything but plain
            suppression by groups.
    """
    nms = test_cfg['nms']
    # split_thr says in how many parts, which changes nothing.
    plain = {'type', 'iou_threshold', 'split_thr'}
    require(
        nms.get('type', 'nms') == 'nms' and set(nms) <= plain,
        f'nms={dict(nms)} (the graph has type nms with an iou_threshold)',
    )
    return float(nms['iou_threshold'])
