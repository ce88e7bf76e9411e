"""What the documentation shows can be typed: code compiles, commands and files exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nodexfer.cli import COMMANDS
from tests.support import readme
from tests.support.source import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"(?:^|[\s`(])nodexfer ([a-z][a-z-]*)\b")
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_python_snippet_compiles(page: Path) -> None:
    for snippet in readme.snippets(page):
        if snippet.language == "python":
            compile(snippet.text, f"{name(page)}:{snippet.line}", "exec")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_shell_snippet_is_one(page: Path) -> None:
    for snippet in readme.snippets(page):
        if snippet.language in {"bash", "sh"}:
            found = subprocess.run(["bash", "-n"], input=snippet.text, capture_output=True, text=True, check=False)
            assert found.stderr == "", f"{name(page)}:{snippet.line}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_that_is_shown_exists(page: Path) -> None:
    for snippet in readme.snippets(page):
        if snippet.language in {"bash", "sh", "console"}:
            unknown = set(COMMAND.findall(snippet.text)) - COMMANDS.keys()
            assert unknown == set(), f"{name(page)}:{snippet.line}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert missing == []


def test_a_snippet_of_a_file_is_that_file() -> None:
    for snippet in readme.snippets():
        if snippet.marker.startswith("file: "):
            file = ROOT / snippet.marker.removeprefix("file: ")
            if not snippet.text:
                pytest.skip(f"README.md:{snippet.line} is still to be filled from {snippet.marker}")
            assert snippet.text == file.read_text(encoding="utf-8"), f"README.md:{snippet.line}"


def test_the_makefile_targets_that_the_documentation_names_exist() -> None:
    rules = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {word for page in PAGES for word in re.findall(r"\bmake ([a-z][a-z-]+)`", page.read_text(encoding="utf-8"))}
    assert named <= rules
