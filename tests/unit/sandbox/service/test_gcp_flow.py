"""Through a stand-in: bytes that really come from, and go to, another process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from globus_sdk import TransferAPIError, TransferClient, TransferData

from tests.support.sandbox import Box, Gcp
from tests.support.waiting import eventually


def _over(client: TransferClient, task: str) -> bool:
    return bool(client.get_task(task)["status"] != "ACTIVE")


def test_files_go_to_a_gcp_and_come_back(box: Box, make_gcp: Callable[[], Gcp], transfer: TransferClient) -> None:
    gcp = make_gcp()
    data = bytes(range(256)) * 40_000
    (box.site / "in.bin").write_bytes(data)
    there = TransferData(box.site_id, gcp.endpoint, verify_checksum=True)
    there.add_item("/in.bin", f"{gcp.root}/deep/in.bin")
    task = transfer.submit_transfer(there)["task_id"]
    eventually(lambda: _over(transfer, task))
    assert transfer.get_task(task)["status"] == "SUCCEEDED"
    assert (gcp.root / "deep" / "in.bin").read_bytes() == data

    back = TransferData(gcp.endpoint, box.other_id, verify_checksum=True)
    back.add_item(f"{gcp.root}/deep", "/out", recursive=True)
    task = transfer.submit_transfer(back)["task_id"]
    eventually(lambda: _over(transfer, task))
    assert (box.other / "out" / "in.bin").read_bytes() == data


def test_a_path_outside_its_list_is_refused_as_documented(
    box: Box, make_gcp: Callable[[], Gcp], transfer: TransferClient
) -> None:
    gcp = make_gcp()
    with pytest.raises(TransferAPIError, match="Path not allowed") as refused:
        transfer.operation_ls(gcp.endpoint, path="/etc/")
    assert (refused.value.http_status, refused.value.code) == (403, "EndpointPermissionDenied")


def test_a_gcp_that_is_gone_is_a_502_at_once(box: Box, make_gcp: Callable[[], Gcp], transfer: TransferClient) -> None:
    gcp = make_gcp()
    gcp.stop()
    eventually(lambda: not transfer.get_endpoint(gcp.endpoint)["gcp_connected"])
    with pytest.raises(TransferAPIError) as refused:
        transfer.operation_ls(gcp.endpoint, path=f"{gcp.root}/")
    assert (refused.value.http_status, refused.value.code) == (
        502,
        "ExternalError.DirListingFailed.GCDisconnected",
    )
    assert refused.value.message == "The GCP endpoint is not currently connected to Globus"
