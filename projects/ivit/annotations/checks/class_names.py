# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Check the names of classes."""

import unicodedata
from collections import defaultdict

from ..faults import FaultKind
from ..records import AnnotatedData

ALIKE = FaultKind(
    'warning',
    'names of classes differ in case, blanks or signs alone',
    'If they mean the same, write one name: now they are classes of their '
    'own.',
)


def check_class_names(data: AnnotatedData) -> None:
    """Count names that are probably one.

    Args:
        data: Its ``faults`` are added to.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(data.classes):
        text = unicodedata.normalize('NFKC', name).casefold()
        key = ''.join(letter for letter in text if letter.isalnum())
        groups[key or name].append(name)
    for names in groups.values():
        if len(names) > 1:
            shown = ', '.join(map(repr, names))
            data.faults.add(ALIKE, f'{data.root}: {shown}')
