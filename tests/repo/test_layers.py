"""Who may import whom: a layer only lower ones, and a few modules only one other."""

from __future__ import annotations

import pytest

from tests.support.source import Import, imports, modules

#: From the bottom. A part imports from lower lines and from itself, never from its neighbours on the line.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "clock", "units"),  # words
    ("identity", "paths"),  # this machine
    ("pidfds",),
    ("records", "procs"),  # tools
    ("config",),
    ("scheduler", "globus", "gcp"),  # ports
    ("pool",),  # work, from here
    ("node",),
    ("staging",),
    ("session",),  # the facade
    ("running",),  # a whole job, by the facade
    ("integrations",),  # edges
    ("sandbox",),
    ("cli",),
    ("__main__",),
)
HEIGHT = {part: height for height, layer in enumerate(LAYERS) for part in layer}


def part_of(name: str) -> str:
    """``node`` for nodexfer.node.keeper; '' for the package itself."""
    return name.partition(".")[2].partition(".")[0]


def own_imports() -> list[Import]:
    return [found for module in modules() for found in imports(module) if found.name.split(".")[0] == "nodexfer"]


def test_every_part_has_its_layer() -> None:
    assert {part_of(module.name) for module in modules()} - {""} <= HEIGHT.keys()


def test_a_layer_imports_only_from_lower_ones() -> None:
    wrong = []
    for found in own_imports():
        here, there = part_of(found.module.name), part_of(found.name)
        if here == "" or there == here or there not in HEIGHT:
            continue  # the package itself: it names the facade, lazily; `from nodexfer import __version__`
        if HEIGHT[there] >= HEIGHT[here]:
            wrong.append(str(found))
    assert wrong == []


def test_the_package_itself_imports_nothing_of_ours_when_it_is_imported() -> None:
    """``import nodexfer`` is on the way of every module: what it exports comes when it is asked for."""
    package = next(module for module in modules() if module.name == "nodexfer")
    at_top = {id(node) for node in package.tree.body}
    for found in imports(package):
        top = any(id(node) in at_top and getattr(node, "lineno", 0) == found.line for node in package.tree.body)
        assert not top or not found.name.startswith("nodexfer"), str(found)


def test_no_two_modules_import_each_other_when_they_are_imported() -> None:
    """A cycle at the top of modules works or not by who comes first."""
    names = {module.name for module in modules()}
    edges: dict[str, set[str]] = {module.name: set() for module in modules()}
    for module in modules():
        lines = {node.lineno for node in module.tree.body}
        for found in imports(module):
            target = found.name if found.name in names else found.name.rpartition(".")[0]
            if found.line in lines and target in names:
                edges[module.name].add(target)
    while edges:
        leaves = {name for name, targets in edges.items() if not targets & edges.keys()}
        assert leaves, f"a cycle among {sorted(edges)}"
        edges = {name: targets for name, targets in edges.items() if name not in leaves}


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("globus_sdk", ("nodexfer.globus.sdk",)),
        ("subprocess", ("nodexfer.procs", "nodexfer.sandbox.standin")),
        ("multiprocessing", ()),
        ("rich", ("nodexfer.cli", "nodexfer.sandbox.chaos", "nodexfer.sandbox.demo")),
        ("flask", ("nodexfer.sandbox",)),
        ("parsl", ("nodexfer.integrations",)),
        ("globus_compute_sdk", ("nodexfer.integrations",)),
        ("globus_compute_endpoint", ("nodexfer.integrations",)),
    ],
)
def test_a_library_has_one_place(library: str, allowed: tuple[str, ...]) -> None:
    wrong = [
        str(found)
        for module in modules()
        for found in imports(module)
        if found.name.split(".")[0] == library
        and not any(module.name == place or module.name.startswith(f"{place}.") for place in allowed)
    ]
    assert wrong == []
