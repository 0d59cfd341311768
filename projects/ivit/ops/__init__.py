# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A stand-in for ``mmcv._ext``, mmcv's compiled operators."""


def install() -> None:
    """Make the stand-in importable where mmcv has no compiled ops."""
