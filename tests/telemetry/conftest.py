from __future__ import annotations

import pytest

from tests.telemetry.apps import Sdk


@pytest.fixture
def sdk() -> Sdk:
    return Sdk()
