import errno
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from edgesdk import files
from edgesdk.errors import (
    ConfigurationError,
    KeyUnavailableError,
    MalformedBundleError,
    MalformedModelError,
)
from edgesdk.files import Home
from edgesdk.limits import BundleLimits

READERS = [files.read_once, files.read_trusted, files.read_private]
NOBODY = 65534


def refused(error, reason, call, /, *args, **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    assert type(caught.value) is error
    assert caught.value.reason == reason
    return caught.value


def private(path, data=b"data"):
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def give_away(path, monkeypatch):
    """Make the file somebody else's: for real as root, else by calling ourselves somebody else."""
    if os.geteuid() == 0:
        os.chown(path, NOBODY, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)


@pytest.mark.parametrize("read", READERS)
class TestEveryRead:
    @pytest.mark.parametrize("size", [0, 1, 4095, 4096, 10_000])
    def test_reads_what_is_there(self, read, size, tmp_path):
        data = os.urandom(size)
        assert read(private(tmp_path / "file", data), limit=size) == data

    def test_size_cap(self, read, tmp_path):
        path = private(tmp_path / "file", b"12345")
        refused(MalformedBundleError, "too-large", read, path, limit=4)

    @pytest.mark.timeout(20)
    def test_sparse_giant(self, read, tmp_path):
        path = private(tmp_path / "file")
        os.truncate(path, 1 << 40)
        refused(MalformedBundleError, "too-large", read, path, limit=1 << 20)

    def test_symbolic_link(self, read, tmp_path):
        link = tmp_path / "link"
        link.symlink_to(private(tmp_path / "file"))
        refused(MalformedBundleError, "not-a-regular-file", read, link, limit=9)
        link.unlink()
        link.symlink_to(tmp_path / "nowhere")
        refused(MalformedBundleError, "not-a-regular-file", read, link, limit=9)

    @pytest.mark.timeout(20)
    def test_pipe_without_a_writer_does_not_block(self, read, tmp_path):
        os.mkfifo(tmp_path / "pipe", 0o600)
        refused(MalformedBundleError, "not-a-regular-file", read, tmp_path / "pipe", limit=9)

    def test_socket(self, read, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
            refused(MalformedBundleError, "not-a-regular-file", read, "socket", limit=9)

    @pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
    def test_devices_and_folders(self, read, path):
        refused(MalformedBundleError, "not-a-regular-file", read, path, limit=9)

    def test_the_file_that_was_opened_is_the_one_that_is_read(self, read, tmp_path, monkeypatch):
        path, other = private(tmp_path / "file", b"good"), private(tmp_path / "other", b"evil")
        fstat = os.fstat

        def swap(descriptor):
            if other.exists():
                other.replace(path)
            return fstat(descriptor)

        monkeypatch.setattr(os, "fstat", swap)
        assert read(path, limit=9) == b"good"
        assert path.read_bytes() == b"evil"

    def test_no_descriptor_is_left_open(self, read, tmp_path):
        path = private(tmp_path / "file", b"12345")
        following = os.dup(0)
        os.close(following)
        read(path, limit=9)
        refused(MalformedBundleError, "too-large", read, path, limit=4)
        # The system gives the lowest number that is free, so nothing has been left open below it.
        assert os.dup(0) == following
        os.close(following)


@pytest.mark.parametrize("read", [files.read_once, files.read_trusted])
def test_missing_file(read, tmp_path):
    refused(ConfigurationError, "missing", read, tmp_path / "absent", limit=9)
    private(tmp_path / "file")
    refused(ConfigurationError, "missing", read, tmp_path / "file" / "below", limit=9)
    refused(ConfigurationError, "missing", read, f"{tmp_path}/zero\0byte", limit=9)


def test_missing_key(tmp_path):
    refused(KeyUnavailableError, "no-key", files.read_private, tmp_path / "absent", limit=9)


def test_file_that_this_user_may_not_read(tmp_path):
    path = private(tmp_path / "file")
    path.chmod(0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        refused(ConfigurationError, "permissions", files.read_once, path, limit=9)
        refused(KeyUnavailableError, "key-permissions", files.read_private, path, limit=9)
    finally:
        os.seteuid(was)


def test_file_that_grows_while_it_is_read(tmp_path, monkeypatch):
    path = private(tmp_path / "file", b"1234")
    fstat = os.fstat

    def grow(descriptor):
        status = fstat(descriptor)
        with path.open("ab") as file:
            file.write(b"x" * 100_000)
        return status

    monkeypatch.setattr(os, "fstat", grow)
    refused(MalformedBundleError, "too-large", files.read_once, path, limit=1000)
    path.write_bytes(b"1234")
    refused(MalformedBundleError, "key-file", files.read_private, path, limit=1000)
    path.write_bytes(b"1234")
    assert files.read_once(path, limit=1 << 20) == b"1234" + b"x" * 100_000


def test_file_that_shrinks_while_it_is_read(tmp_path, monkeypatch):
    path = private(tmp_path / "file", b"12345678")
    fstat = os.fstat

    def shrink(descriptor):
        status = fstat(descriptor)
        os.truncate(path, 3)
        return status

    monkeypatch.setattr(os, "fstat", shrink)
    assert files.read_once(path, limit=100) == b"123"
    path.write_bytes(b"12345678")
    refused(MalformedBundleError, "key-file", files.read_private, path, limit=100)


def test_read_errors_are_translated(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    path = private(tmp_path / "file")
    monkeypatch.setattr(os, "read", fail)
    refused(ConfigurationError, "permissions", files.read_once, path, limit=9)


def test_callers_can_have_their_own_error(tmp_path):
    def error(reason, text):
        return MalformedModelError("malformed-model", f"{reason}: {text}")

    path = private(tmp_path / "file", b"12345")
    refused(MalformedModelError, "malformed-model", files.read_once, path, limit=4, error=error)
    refused(MalformedModelError, "malformed-model", files.read_once, tmp_path, limit=4, error=error)


def test_bundles_may_belong_to_anybody(tmp_path, monkeypatch):
    path = private(tmp_path / "file")
    path.chmod(0o666)
    give_away(path, monkeypatch)
    assert files.read_once(path, limit=9) == b"data"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o622])
def test_trusted_files_are_not_writable_by_others(mode, tmp_path):
    path = private(tmp_path / "file")
    path.chmod(mode)
    error = refused(ConfigurationError, "permissions", files.read_trusted, path, limit=9)
    assert f"{mode:04o}" in str(error)
    assert "chmod" in error.hint


def test_trusted_files_may_be_readable(tmp_path):
    path = private(tmp_path / "file")
    path.chmod(0o644)
    assert files.read_trusted(path, limit=9) == b"data"


def test_trusted_files_belong_to_root_or_this_user(tmp_path, monkeypatch):
    path = private(tmp_path / "file")
    give_away(path, monkeypatch)
    refused(ConfigurationError, "permissions", files.read_trusted, path, limit=9)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o610, 0o601, 0o660, 0o777])
def test_keys_are_not_open_to_others(mode, tmp_path):
    path = private(tmp_path / "key")
    path.chmod(mode)
    error = refused(KeyUnavailableError, "key-permissions", files.read_private, path, limit=9)
    assert "chmod 600" in error.hint


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_keys_may_be_the_owners_alone(mode, tmp_path):
    path = private(tmp_path / "key")
    path.chmod(mode)
    assert files.read_private(path, limit=9) == b"data"


def test_keys_belong_to_this_user(tmp_path, monkeypatch):
    path = private(tmp_path / "key")
    give_away(path, monkeypatch)
    refused(KeyUnavailableError, "key-permissions", files.read_private, path, limit=9)


def test_keys_come_in_memory_that_can_be_wiped(tmp_path):
    assert isinstance(files.read_private(private(tmp_path / "key"), limit=9), bytearray)


# ---- writing


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_new_files_are_private(tmp_path):
    was = os.umask(0)
    try:
        files.write_new(tmp_path / "key", bytearray(b"secret"))
        files.write_new(tmp_path / "public", memoryview(b"known"), mode=0o644)
    finally:
        os.umask(was)
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "public").stat().st_mode) == 0o644


def test_new_files_never_overwrite(tmp_path):
    files.write_new(tmp_path / "key", b"first")
    refused(KeyUnavailableError, "key-exists", files.write_new, tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"
    assert names(tmp_path) == ["key"]


def test_new_files_are_whole_or_absent(tmp_path, monkeypatch):
    """Also for who looks while it is written, and for a machine that stops in between."""
    path = tmp_path / ("ä" * 120)
    real_write, seen = os.write, []

    def write(descriptor, data):
        seen.append(path.exists())
        return real_write(descriptor, data[:3])

    monkeypatch.setattr(os, "write", write)
    files.write_new(path, b"0123456789")
    assert seen == [False] * 4
    assert path.read_bytes() == b"0123456789"
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_new_files_where_there_are_no_hard_links(tmp_path, monkeypatch, number):
    def link(*_):
        raise OSError(number, "no links")

    monkeypatch.setattr(os, "link", link)
    files.write_new(tmp_path / "key", b"first")
    refused(KeyUnavailableError, "key-exists", files.write_new, tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"
    assert names(tmp_path) == ["key"]


def test_new_files_do_not_follow_links(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    refused(KeyUnavailableError, "key-exists", files.write_new, tmp_path / "link", b"secret")
    assert names(tmp_path) == ["link"]


@pytest.mark.parametrize("write", [files.write_new, files.write_replace])
class TestFailedWrites:
    @pytest.mark.parametrize("call", ["write", "fsync"])
    @pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space"), KeyboardInterrupt()])
    def test_nothing_is_left_behind(self, write, call, failure, tmp_path, monkeypatch):
        (tmp_path / "old").write_bytes(b"old")
        real_write = os.write

        def fail(descriptor, *_):
            real_write(descriptor, b"par")
            raise failure

        monkeypatch.setattr(os, call, fail)
        if isinstance(failure, OSError):
            refused(ConfigurationError, "invalid", write, tmp_path / "new", b"partial")
        else:
            with pytest.raises(KeyboardInterrupt):
                write(tmp_path / "new", b"partial")
        monkeypatch.undo()
        assert names(tmp_path) == ["old"]

    def test_short_writes_are_continued(self, write, tmp_path, monkeypatch):
        real_write = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, bytes(data[:3])))
        write(tmp_path / "new", b"0123456789")
        assert (tmp_path / "new").read_bytes() == b"0123456789"

    def test_folder_that_is_not_there(self, write, tmp_path):
        refused(ConfigurationError, "missing", write, tmp_path / "absent" / "new", b"data")
        assert names(tmp_path) == []


@pytest.mark.parametrize("write", [files.write_new, files.write_replace])
def test_writes_survive_a_power_cut(write, tmp_path, monkeypatch):
    """The bytes reach the disk before the name does, and then the name does as well."""
    events = []
    fsync, hard_link, replace = os.fsync, os.link, Path.replace

    def sync(descriptor):
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        events.append("folder" if folder else "file")
        fsync(descriptor)

    def rename(*args, **kwargs):
        events.append("rename")
        replace(*args, **kwargs)

    def link(*args):
        events.append("link")
        hard_link(*args)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(Path, "replace", rename)
    following = os.dup(0)
    os.close(following)
    write(tmp_path / "file", b"data")
    named = "link" if write is files.write_new else "rename"
    assert events == ["file", named, "folder"]
    assert os.dup(0) == following  # no descriptor is left open
    os.close(following)


def test_replacing_is_one_step(tmp_path):
    path = private(tmp_path / "file", b"old")
    files.write_replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["file"]


def test_replacing_fails_without_a_trace(tmp_path):
    (tmp_path / "folder").mkdir()
    refused(ConfigurationError, "invalid", files.write_replace, tmp_path / "folder", b"data")
    assert names(tmp_path) == ["folder"]


def test_replacing_puts_a_file_where_a_link_was(tmp_path):
    target = private(tmp_path / "target", b"kept")
    (tmp_path / "link").symlink_to(target)
    files.write_replace(tmp_path / "link", b"new")
    assert target.read_bytes() == b"kept"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_replacing_tells_of_a_name_that_may_not_last(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", sync_of_folders(number))
    refused(ConfigurationError, "invalid", files.write_replace, tmp_path / "file", b"new")
    refused(ConfigurationError, "invalid", files.make_private_folder, tmp_path / "folder")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_replacing_where_folders_cannot_be_synced(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", sync_of_folders(number))
    files.write_replace(tmp_path / "file", b"new")
    files.make_private_folder(tmp_path / "folder")
    assert names(tmp_path) == ["file", "folder"]


def sync_of_folders(number):
    """An fsync that fails for folders."""
    fsync = os.fsync

    def failing(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    return failing


def test_private_folders(tmp_path):
    files.make_private_folder(tmp_path / "folder")
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o700
    (tmp_path / "folder" / "file").touch()
    files.make_private_folder(tmp_path / "folder")
    assert names(tmp_path / "folder") == ["file"]
    private(tmp_path / "file")
    refused(ConfigurationError, "invalid", files.make_private_folder, tmp_path / "file")
    refused(ConfigurationError, "missing", files.make_private_folder, tmp_path / "a" / "b")


def test_leftovers_of_a_file_are_removed_and_nothing_else(tmp_path):
    kept = ["file", ".file.x", "file.1.new", ".other.1.new", ".filet.1.new"]
    for name in (*kept, ".file.0123.new"):
        (tmp_path / name).touch()
    files.remove_leftovers(tmp_path / "file")
    assert names(tmp_path) == sorted(kept)
    files.remove_leftovers(tmp_path / "absent" / "file")


# ---- locks


def test_a_lock_is_for_one_at_a_time(tmp_path):
    path = tmp_path / "lock"

    def take():
        with files.locked(path, seconds=0):
            pass

    with files.locked(path, seconds=0):
        refused(ConfigurationError, "invalid", take)
    take()
    with pytest.raises(KeyboardInterrupt), files.locked(path, seconds=0):
        raise KeyboardInterrupt
    take()
    assert path.read_bytes() == b""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_lock_goes_also_when_a_child_has_it_open(tmp_path):
    """A child that was forked meanwhile shares the open file, and must not keep the lock."""
    reader, writer = os.pipe()
    with files.locked(tmp_path / "lock", seconds=0):
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            os.close(writer)
            os.read(reader, 1)  # until the parent has closed its end
            os._exit(0)
    try:
        with files.locked(tmp_path / "lock", seconds=0):
            pass
    finally:
        os.close(writer)
        os.close(reader)
        assert os.waitpid(child, 0)[1] == 0


def test_a_lock_that_comes_free_is_waited_for(tmp_path):
    path, taken = tmp_path / "lock", []

    def take():
        with files.locked(path, seconds=60):
            taken.append(True)

    other = threading.Thread(target=take)
    with files.locked(path, seconds=0):
        other.start()
        assert taken == []
    other.join()
    assert taken == [True]


def test_a_lock_that_cannot_be_made(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")

    def take(path):
        with files.locked(path, seconds=0):
            pass

    refused(ConfigurationError, "invalid", take, tmp_path / "link")
    refused(ConfigurationError, "missing", take, tmp_path / "absent" / "lock")
    assert names(tmp_path) == ["link"]


# ---- the configuration folder


def test_home_is_found_in_order(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGESDK_HOME", raising=False)
    assert Home.find().folder == Path("/etc/edgesdk")
    monkeypatch.setenv("EDGESDK_HOME", "")
    assert Home.find().folder == Path("/etc/edgesdk")
    monkeypatch.setenv("EDGESDK_HOME", str(tmp_path))
    assert Home.find().folder == tmp_path
    assert Home.find(tmp_path / "argument").folder == tmp_path / "argument"


def test_home_names_its_files(tmp_path):
    home = Home(tmp_path)
    assert home.trust == tmp_path / "trust.json"
    assert home.device_key == tmp_path / "device.key"
    assert home.gateway == tmp_path / "gateway.pub"
    assert home.broker_ca == tmp_path / "broker-ca.pem"
    assert str(tmp_path) in repr(home)


def test_home_lists_grants_by_name(tmp_path):
    home = Home(tmp_path)
    assert home.grants() == []
    folder = tmp_path / "grants"
    folder.mkdir()
    for name in ("b.grant", "a.grant", "c.txt"):
        (folder / name).write_bytes(b"")
    assert home.grants() == [folder / "a.grant", folder / "b.grant"]


def test_home_lists_a_bounded_number_of_grants(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BUNDLE", BundleLimits(grant_files=3))
    (tmp_path / "grants").mkdir()
    for number in range(5):
        (tmp_path / "grants" / f"{number}.grant").write_bytes(b"")
    assert len(Home(tmp_path).grants()) == 3
