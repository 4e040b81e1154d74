"""All cases."""

from __future__ import annotations

from typing import Final

from tests.upstream.transparency.case import Case
from tests.upstream.transparency.table_answers import ANSWERS
from tests.upstream.transparency.table_attacks import ATTACKS
from tests.upstream.transparency.table_faults import FAULTS
from tests.upstream.transparency.table_headers import HEADERS
from tests.upstream.transparency.table_requests import REQUESTS

CASES: Final[tuple[Case, ...]] = (*REQUESTS, *HEADERS, *ANSWERS, *ATTACKS, *FAULTS)
