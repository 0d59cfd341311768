# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""Show the arguments that a class passes on to its bases as its own."""

import inspect
import re

ENTRY = re.compile(r'^ {4}(\w+): .*(?:\n {8}.*)*', re.MULTILINE)


def show_inherited_arguments(cls: type, root: type) -> None:
    """Complete the signature and the docstring of a class, for ``help()``.

    The constructors between ``cls`` and ``root`` take ``**common`` and pass
    it on, so that an argument and its description are written once. Only
    what a base takes by keyword alone counts as passed on.

    Args:
        cls: The class; its ``__signature__`` and ``__doc__`` are set.
        root: The last base to look at.
    """
    bases = [
        base
        for base in cls.__mro__
        if issubclass(base, root) and '__init__' in vars(base)
    ]
    parameters: dict[str, inspect.Parameter] = {}
    for base in bases:
        # Leave out self.
        for parameter in list(
            inspect.signature(base.__init__).parameters.values()
        )[1:]:
            own = (
                base is bases[0]
                and parameter.kind is not parameter.VAR_KEYWORD
            )
            if own or parameter.kind is parameter.KEYWORD_ONLY:
                parameters.setdefault(parameter.name, parameter)
    cls.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    if not cls.__doc__:
        return
    doc = inspect.cleandoc(cls.__doc__)
    entries: dict[str, str] = {}
    for base in bases:
        for name, entry in _entries(
            inspect.cleandoc(base.__doc__ or '')
        ).items():
            entries.setdefault(name, entry)
    section = '\n'.join(
        ['Args:', *(entries[name] for name in parameters if name in entries)]
    )
    if '\n\nArgs:\n' in doc:
        before, _, rest = doc.partition('\n\nArgs:\n')
        after = ''.join(rest.partition('\n\n')[1:])
    else:
        place = re.search(r'\n\n(Raises|Example):|$', doc).start()  # type: ignore[union-attr]
        before, after = doc[:place], doc[place:]
    cls.__doc__ = f'{before}\n\n{section}{after}'


def _entries(doc: str) -> dict[str, str]:
    """The description of each argument in a Google docstring."""
    section = doc.partition('\nArgs:\n')[2].partition('\n\n')[0]
    return {match[1]: match[0] for match in ENTRY.finditer(section)}
