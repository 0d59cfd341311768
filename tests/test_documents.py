# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
"""What the pages of the project refer to is there."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/*.md')])
LINK = re.compile(r'\]\((?!https?:)([^)#]*)#?([^)]*)\)')


def anchors(page):
    """What GitHub makes of a page's headings."""
    text = re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL)
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        for heading in re.findall(r'^#+ (.*)$', text, flags=re.MULTILINE)
    }


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links(page):
    for path, anchor in LINK.findall(page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor:
            assert anchor in anchors(target), f'{path}#{anchor}'


def test_every_room_is_on_the_map():
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    rooms = {path.parent.name for path in ROOT.glob('projects/ivit/*/*.py')}
    assert {room for room in rooms if f'{room}/`' not in text} == set()


def test_the_workflow_runs_what_make_has():
    workflow = (ROOT / '.github/workflows/ci.yml').read_text()
    makefile = (ROOT / 'Makefile').read_text()
    (versions,) = re.findall(r'^\tcase .* in (\S+)\)', makefile, re.MULTILINE)
    commands = set()
    for job in yaml.safe_load(workflow)['jobs'].values():
        assert job['strategy']['matrix']['python'] == versions.split('|')
        commands.add(job['steps'][-1]['run'])
    assert commands == {
        f'make {target} PYTHON=python${{{{ matrix.python }}}}'
        for target in ('check', 'test')
    }


def test_both_papers_are_cited():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    readme = (ROOT / 'README.md').read_text()
    papers = [paper['url'] for paper in citation['references']]
    assert len(papers) == 2
    assert all(paper in readme for paper in papers)
