from __future__ import annotations

import pytest
from globus_sdk import TransferClient

from tests.support.sandbox import Box
from tests.unit.sandbox.service.support import Tasks


@pytest.fixture
def tasks(box: Box, transfer: TransferClient) -> Tasks:
    return Tasks(box, transfer)
