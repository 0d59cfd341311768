# Copyright (c) ivit contributors. Licensed under the Apache License 2.0.
import re
from pathlib import Path

import pytest
from report_cases import Page as Parsed

from ivit.report import Page, Section, write_page
from ivit.report.markup import (
    Pair,
    make_figure,
    make_legend,
    make_table,
    shorten,
    shown,
)

HOSTILE = '<script>1</script> & "$title"'


@pytest.fixture
def page():
    return Page(
        title=HOSTILE,
        introduction='<p>of <code>shapes</code></p>',
        headline={HOSTILE: HOSTILE},
        sections=[Section(HOSTILE, HOSTILE, '<b>body</b>')],
        facts={HOSTILE: {HOSTILE: HOSTILE}},
    )


def test_all_is_there_and_escaped(page):
    parsed = Parsed(page.html())
    assert 'script' not in parsed.tags
    # Title twice; headline, section and facts.
    assert parsed.text.count(HOSTILE) == 2 + 2 + 2 + 3
    assert {'code', 'b', 'h1'} <= set(parsed.tags)
    assert 'How this was made' in parsed.text


def test_nothing_comes_from_outside(page):
    html = page.html()
    parsed = Parsed(html)
    assert parsed.links == []
    assert 'link' not in parsed.tags
    assert not re.search(r'url\(|@import', html)


def test_pieces_are_escaped():
    pieces = [
        make_table([HOSTILE], [(HOSTILE, [HOSTILE])]),
        make_figure(HOSTILE, '<svg/>'),
        make_legend([HOSTILE], [(1, 2, 3)]),
        Pair(HOSTILE, ('<svg></svg>', HOSTILE), ('', HOSTILE)).html(),
    ]
    parsed = Parsed(''.join(pieces))
    assert 'script' not in parsed.tags
    assert parsed.tables == [[['', HOSTILE], [HOSTILE, HOSTILE]]]
    assert parsed.text.count(HOSTILE) == 1 + 1 + 3


def test_numbers_and_names():
    assert shown(0.12345) == '0.123'
    assert shown(float('nan')) == 'n/a'
    assert shorten('short', 5) == 'short'
    assert shorten('abcdefghij', 5) == 'ab…ij'


def test_the_file_is_whole_or_as_before(tmp_path, monkeypatch):
    path = tmp_path / 'report.html'
    write_page('first', path)
    write_page('second', str(path))
    assert path.read_text() == 'second'

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, 'replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_page('third', path)
    assert path.read_text() == 'second'
    assert list(tmp_path.iterdir()) == [path]
