# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""The page itself: HTML without scripts and without anything outside it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from .facts import Facts
from .markup import Section, make_facts

TEMPLATE = Path(__file__).with_name('page.html')


@dataclass
class Page:
    """What a page says, from top to bottom.

    Attributes:
        title: Plain text.
        introduction: HTML.
        headline: Numbers by their names.
        sections: The parts.
        facts: What else to tell, by heading and name.
    """

    title: str
    introduction: str
    headline: Mapping[str, str]
    sections: Sequence[Section]
    facts: Facts

    def html(self) -> str:
        """The page as an HTML document."""
        numbers = ''.join(
            f'<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>'
            for name, value in self.headline.items()
        )
        how = Section('How this was made', '', make_facts(self.facts))
        return Template(TEMPLATE.read_text(encoding='utf-8')).substitute(
            title=escape(self.title),
            introduction=self.introduction,
            headline=numbers,
            sections='\n'.join(part.html() for part in [*self.sections, how]),
        )


def write_page(page: str, path: str | Path) -> None:
    """Write a page so that the file is whole or as it was before."""
    path = Path(path)
    part = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        part.write_text(page, encoding='utf-8')
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
