from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lpbf_dataset import open_dataset
from lpbf_dataset.store.layout import StoreError
from lpbf_dataset.store.replacement import Replacement, restore


@pytest.fixture
def target(tmp_path):
    return tmp_path / "here" / "s.zarr"


@pytest.fixture
def put(write_store, cases):
    """Return a function that writes a store of the first cases."""

    def write(path, count):
        return write_store(path, cases[:count])

    return write


def names(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_nothing_is_there_before_the_commit(target):
    with Replacement(target) as replacement:
        (replacement.folder / "file").touch()
        assert not target.exists()
        replacement.commit()
        assert [path.name for path in target.iterdir()] == ["file"]
    assert names(target) == ["s.zarr"]


def test_leaving_without_a_commit_leaves_nothing(target):
    with Replacement(target) as replacement:
        replacement.create_spool()
        replacement.create_scratch()
        (replacement.scratch / "file").touch()
        (replacement.folder / "file").touch()
    assert names(target) == []


def test_the_spool_is_handed_on(target):
    with Replacement(target) as first:
        first.create_spool()
        (first.spool / "case").touch()
    assert names(target) == [".s.zarr.cases"]
    with Replacement(target) as second:
        second.create_spool()
        assert [path.name for path in second.spool.iterdir()] == ["case"]
        second.clear_spool()
    assert names(target) == []


def test_an_earlier_store_is_replaced(target, put):
    put(target, 2)
    with Replacement(target) as replacement:
        put(replacement.folder.with_name("new.zarr"), 3).rename(replacement.folder / "inner")
        (replacement.folder / "inner" / "zarr.json").rename(replacement.folder / "zarr.json")
        assert len(open_dataset(target)) == 2
        replacement.commit()
    assert (target / "inner").is_dir()
    assert names(target) == ["s.zarr"]


def test_a_link_goes_on_to_point_at_the_store(target, put, tmp_path):
    put(target, 2)
    (tmp_path / "link.zarr").symlink_to(target)
    with Replacement(tmp_path / "link.zarr") as replacement:
        (replacement.folder / "file").touch()
        replacement.commit()
    assert (tmp_path / "link.zarr").is_symlink()
    assert [path.name for path in target.iterdir()] == ["file"]


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_text("thesis")])
def test_only_a_store_is_replaced(target, make):
    target.parent.mkdir()
    make(target)
    with pytest.raises(StoreError, match="is not an LPBF store; choose another name"):
        Replacement(target)


def test_nor_what_came_meanwhile(target):
    with Replacement(target) as replacement:
        target.mkdir()
        with pytest.raises(StoreError, match="not an LPBF store"):
            replacement.commit()
    assert names(target) == ["s.zarr"]


def test_one_process_at_a_time(target):
    with Replacement(target) as first:
        (first.folder / "file").touch()
        with pytest.raises(StoreError, match="another process is writing"), Replacement(target):
            pass
        assert (first.folder / "file").exists()
        first.commit()
    assert names(target) == ["s.zarr"]


def test_locks_are_released(target):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with Replacement(target):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


class TestRename:
    """The moment between the renames of the earlier store and of the new one."""

    @pytest.fixture
    def between(self, target, put):
        """Leave things as a process does that is killed in that moment."""
        put(target, 2)
        target.rename(target.with_name(".s.zarr.replaced"))
        target.with_name(".s.zarr.partial").mkdir()
        target.with_name(".s.zarr.lock").touch()

    def test_the_earlier_store_is_put_back(self, between, target):
        restore(target)
        assert len(open_dataset(target)) == 2
        assert names(target) == ["s.zarr"]

    def test_not_while_another_process_is_at_it(self, between, target):
        earlier = target.with_name(".s.zarr.replaced")
        with Replacement(target):
            target.rename(earlier)
            with pytest.raises(StoreError, match="another process"):
                restore(target)
            earlier.rename(target)

    def test_a_new_store_that_is_in_place_stays(self, between, target, put):
        put(target.with_name("new.zarr"), 3).rename(target)
        restore(target)
        with Replacement(target):
            pass
        assert len(open_dataset(target)) == 3
        assert names(target) == ["s.zarr"]

    def test_nothing_to_put_back(self, tmp_path, target):
        restore(target)
        assert not target.parent.exists()

    def test_a_failure_puts_it_back_at_once(self, target, put, monkeypatch):
        put(target, 2)
        with Replacement(target) as replacement:
            rename = type(target).rename

            def refuse(path, other):
                if path == replacement.folder:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return rename(path, other)

            monkeypatch.setattr(type(target), "rename", refuse)
            with pytest.raises(StoreError, match=r"cannot write .*: No space left on device"):
                replacement.commit()
        assert len(open_dataset(target)) == 2
        assert names(target) == ["s.zarr"]


def test_files_are_linked_and_metadata_copied(target, put):
    put(target, 2)
    with Replacement(target) as replacement:
        replacement.link_target(leave_out={"displacement", "README.md"})
        copied = {path.name for path in replacement.folder.iterdir()}
        assert copied == {path.name for path in target.iterdir()} - {"displacement"}
        same = [
            path.samefile(target / path.relative_to(replacement.folder))
            for path in replacement.folder.rglob("*")
            if path.is_file() and path.parent != replacement.folder
        ]
        assert all(same)
        assert not (replacement.folder / "zarr.json").samefile(target / "zarr.json")
