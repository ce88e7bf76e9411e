"""Making an endpoint when the service's answer is lost: nobody knows its id, and it must not stay behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

from nodexfer.errors import ServiceUnreachable
from nodexfer.gcp.install import Program
from nodexfer.globus.protocol import Collection, NewEndpoint
from nodexfer.pool.create import create
from tests.unit.pool.support import ID, config


class Service:
    """Makes what it is asked for, and its answer does not arrive."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def identity(self) -> str:
        return "me"

    def create_endpoint(self, name: str) -> NewEndpoint:
        self.made[name] = f"{ID}{len(self.made)}"
        raise ServiceUnreachable("The connection was cut.")

    def delete_endpoint(self, endpoint: str) -> None:
        self.made = {name: made for name, made in self.made.items() if made != endpoint}

    def own_endpoint(self, name: str) -> str | None:
        return self.made.get(name)

    def collection(self, collection: str) -> Collection:
        return _never()


def _never() -> NoReturn:
    raise AssertionError


def test_an_endpoint_whose_answer_was_lost_is_found_by_its_name_and_taken_back(tmp_path: Path) -> None:
    service, settings = Service(), config(tmp_path)
    with pytest.raises(ServiceUnreachable, match="cut"):
        list(create(settings, service, Program("/gcp", "/"), os.environ, 1, "p"))
    assert service.made == {}
    assert os.listdir(settings.home_paths.pool("default")) == []
