from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser.chromium import NAMES, Page, find_browser
from example_report import Example, make_example


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return make_example(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def browser() -> str:
    found = find_browser()
    if found is None:
        pytest.skip(f"NO BROWSER: install Chromium (Debian: {NAMES[0]}), or set FEWPICK_CHROMIUM")
    return found


@pytest.fixture(scope="module")
def opened(browser: str, example: Example) -> Iterator[Page]:
    """The page at laptop width, offline; tests share it and set what they need."""
    with Page(browser, 1366, 800) as page:
        page.open(example.page)
        yield page
