"""What all tests of training share."""

from __future__ import annotations

import pytest
from helpers.made import few_test_pictures


@pytest.fixture(scope="module", autouse=True)
def few_pictures(finished_run):
    """Runs are tested on few pictures, beside the one that all tests share: that has been tested on all of them.

    Of a module: without an `__init__.py` pytest would keep what is of a package until the end, for all folders.
    """
    with few_test_pictures():
        yield
