from __future__ import annotations
import pytest
@pytest.fixture
def database_url() -> None:
    return None
