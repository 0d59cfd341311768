# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""A command line on which an option that is given twice is an error."""

import argparse
from typing import Any


class Parser(argparse.ArgumentParser):
    """argparse's parser, which would take the last value and say nothing.

    The first paragraph of the description and the examples in it keep their
    lines.

    Args:
        prog: How the command is called.
        description: What it does.
    """

    def __init__(self, prog: str, description: str | None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.given: set[str] = set()
        self.register('action', None, _StoreOnce)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Parse; each option may be given once."""
        self.given = set()
        return super().parse_known_args(*args, **kwargs)


class _StoreOnce(argparse._StoreAction):
    def __call__(self, parser: Any, *args: Any, **kwargs: Any) -> None:
        if self.option_strings and self.dest in parser.given:
            parser.error(f'{self.option_strings[0]} is given twice')
        parser.given.add(self.dest)
        super().__call__(parser, *args, **kwargs)
