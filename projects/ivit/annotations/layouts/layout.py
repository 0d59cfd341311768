# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What an adapter of a layout has to bring."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..records import AnnotatedData, Task


class Layout(NamedTuple):
    """A way in which people keep annotated images in a folder.

    Attributes:
        name: Its name in messages, such as ``'YOLO'``.
        task: What its annotations are for.
        wants: What has to lie where, in one line.
        find: Looks whether a folder has this layout, without reading
            annotations. Returns the files or folders that tell, in words, or
            None.
        read: Reads the folder. It writes nothing. Faults that training must
            not start with go to ``faults`` of the result; it raises a
            ``ValueError`` only where nothing can be read.
    """

    name: str
    task: Task
    wants: str
    find: Callable[[Path], str | None]
    read: Callable[[Path], AnnotatedData]
