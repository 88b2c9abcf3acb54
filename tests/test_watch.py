"""What counts as a change of a file, and when."""

import asyncio
import os

import pytest

from proxy.watch import SECONDS, Watch


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "proxy.yaml"
    path.write_text("one")
    return path


async def told(watch, looks=2):
    """Tell whether *watch* has seen a change after so many looks."""
    try:
        async with asyncio.timeout((looks + 0.5) * SECONDS):
            await watch.changed()
    except TimeoutError:
        return False
    return True


def rewrite(path):
    path.write_text("two!")


def rename(path):
    other = path.with_name("saved.tmp")
    other.write_text("two")
    other.rename(path)


def remove(path):
    path.unlink()


@pytest.mark.parametrize("change", [rewrite, rename, remove])
async def test_a_file_that_changes_is_told_of_once(file, change):
    watch = Watch(lambda: [str(file)])
    change(file)

    assert await told(watch)
    assert not await told(watch)


async def test_a_config_map_that_is_swapped_has_changed(tmp_path):
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "proxy.yaml").write_text("same size, and the same time even")
        os.utime(tmp_path / version / "proxy.yaml", (1, 1))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "proxy.yaml").symlink_to("..data/proxy.yaml")
    watch = Watch(lambda: [str(tmp_path / "proxy.yaml")])
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    assert await told(watch)


async def test_what_is_read_anyway_is_not_told_of(file):
    watch = Watch(lambda: [str(file)])
    rewrite(file)
    await watch.acknowledge()
    assert not await told(watch)
    rename(file)

    assert await told(watch)


async def test_a_file_that_keeps_changing_is_left_to_settle(file):
    watch = Watch(lambda: [str(file)])
    changed = asyncio.ensure_future(watch.changed())
    for length in range(5):
        file.write_text("x" * (10 + length))
        await asyncio.sleep(SECONDS)
        assert not changed.done()
    await asyncio.sleep(2 * SECONDS)

    assert changed.done()


async def test_a_file_that_appears_has_changed_and_a_pipe_never_does(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    watch = Watch(lambda: [str(tmp_path / "pipe"), str(tmp_path / "later")])
    assert not await told(watch)
    os.utime(tmp_path / "pipe", (1, 1))
    assert not await told(watch)
    (tmp_path / "later").touch()

    assert await told(watch)
