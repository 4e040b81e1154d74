"""Scenarios that ASGI and WSGI must play alike."""

import pytest

pytest.register_assert_rewrite(
    "tests.scenarios.play",
    "tests.scenarios.site",
    "tests.scenarios.asgi_driver",
    "tests.scenarios.wsgi_driver",
)
