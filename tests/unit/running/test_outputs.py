"""How much there is, of whatever is there."""

from __future__ import annotations

from pathlib import Path

from nodexfer.running.outputs import measure
from nodexfer.running.walltime import Load


def test_files_directories_and_links_count_what_would_be_moved(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/a").write_bytes(b"x" * 10)
    (tmp_path / "d/e/b").write_bytes(b"x" * 5)
    (tmp_path / "d/link").symlink_to(tmp_path / "d/a")
    assert measure(str(tmp_path / "d")) == Load(25, 3)
    assert measure(str(tmp_path / "d/a")) == Load(10, 1)
    assert measure(str(tmp_path / "d/link")) == Load(10, 1)


def test_what_is_not_there_or_leads_nowhere_counts_nothing(tmp_path: Path) -> None:
    """And hides nothing of what is beside it, in whatever order the file system names them."""
    (tmp_path / "d").mkdir()
    for number in range(10):
        (tmp_path / f"d/broken-{number}").symlink_to("nowhere")
        (tmp_path / f"d/sub-{number}").mkdir()
        (tmp_path / f"d/sub-{number}/a").write_bytes(b"x")
    assert measure(str(tmp_path / "none")) == Load()
    assert measure(str(tmp_path / "d")) == Load(10, 10)
