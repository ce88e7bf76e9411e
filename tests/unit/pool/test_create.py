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
from nodexfer.pool.entries import read_pool
from tests.unit.pool.support import ID, config

CUT = "The connection was cut."


class Service:
    """Makes what it is asked for, and its answer does not arrive."""

    def __init__(self, *, away: bool = False) -> None:
        self.made: dict[str, str] = {}
        self.away = away

    def identity(self) -> str:
        return "me"

    def create_endpoint(self, name: str) -> NewEndpoint:
        self.made[name] = f"{ID}{len(self.made)}"
        raise ServiceUnreachable(CUT)

    def delete_endpoint(self, endpoint: str) -> None:
        self.made = {name: made for name, made in self.made.items() if made != endpoint}

    def own_endpoint(self, name: str) -> str | None:
        if self.away:
            raise ServiceUnreachable("Still.")
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


def test_what_can_not_be_taken_back_is_told_with_what_takes_it_away(tmp_path: Path) -> None:
    settings = config(tmp_path)
    with pytest.raises(ServiceUnreachable) as told:
        list(create(settings, Service(away=True), Program("/gcp", "/"), os.environ, 1, "p"))
    assert str(told.value) == f"{CUT} p-1 stays, as broken: `nodexfer pool remove p-1` takes it away."
    [entry] = read_pool(settings.home_paths, "default")
    assert entry.broken
