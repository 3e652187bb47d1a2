"""The documentation's pages: all are in the index, what they show and link to is there, and no picture is too large."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
MOST_BYTES = 300_000


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_what_a_page_links_to_is_there(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_index_has_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in PAGES if page.name != "README.md" and f"({page.name})" not in index]
    assert not missing


def test_pictures_are_small():
    large = [path.name for path in (ROOT / "docs" / "pictures").glob("*.png") if path.stat().st_size > MOST_BYTES]
    assert large in ([], ["demo.png"])  # the demonstration's own sheet, which no window shows
