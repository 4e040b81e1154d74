"""What every store promises, as tests that a store written elsewhere can run; needs pytest.

    class TestMyStore(StoreContract, AffinityContract):
        @pytest.fixture
        def opener(self):
            return functools.partial(MyStore, "address", "a-namespace-of-its-own")

docs/stores.md tells more.
"""

import pytest

# Before the imports below: a promise that is broken shall say with which values.
pytest.register_assert_rewrite(
    "canary_middleware.testing.affinity",
    "canary_middleware.testing.firsts",
    "canary_middleware.testing.processes",
    "canary_middleware.testing.series",
    "canary_middleware.testing.state",
    "canary_middleware.testing.totals",
)

from canary_middleware.testing.affinity import AffinityContract
from canary_middleware.testing.contract import Contract, Opener
from canary_middleware.testing.firsts import FirstsContract
from canary_middleware.testing.processes import SharedContract
from canary_middleware.testing.series import (
    NamedLeaseContract,
    OutboxContract,
    SeriesContract,
)
from canary_middleware.testing.state import StoreContract
from canary_middleware.testing.totals import (
    LeaseContract,
    TotalsContract,
)

__all__ = [
    "AffinityContract",
    "Contract",
    "FirstsContract",
    "LeaseContract",
    "NamedLeaseContract",
    "Opener",
    "OutboxContract",
    "SeriesContract",
    "SharedContract",
    "StoreContract",
    "TotalsContract",
]
