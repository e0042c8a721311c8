"""A disk that may lose power: records what a program asks of it, and what could be left of that.

``recording`` notes each create, write, fsync, rename, link, unlink and mkdir below a folder.
``Disk`` replays a beginning of them and gives every tree that could be found afterwards, of
which POSIX promises no more than this:

- What was written to a file and not yet synced is there, cut, full of zeros, or not there at all.
- Of the changes of a folder that was not yet synced, any may be there, and without the others. A
  rename that was cut may be done, not done, or have left the file under both names or neither:
  atomic is what it is for other processes, not for a power cut on every file system.
- What was synced is there.
"""

from __future__ import annotations

import itertools
import os
import stat
from contextlib import contextmanager
from pathlib import Path

FOLDER = "a folder"


class Recording:
    """The events below a folder, in order: tuples of a word, names below the folder, and data."""

    def __init__(self, folder):
        self.folder = folder
        self.start = tree_of(folder)
        self.events = []
        self._open = {}
        self._files = {name: name for name in self.start if self.start[name] is not FOLDER}

    def done(self, promised):
        """From here on the program has promised this."""
        self.events.append(("done", promised))

    def name(self, path):
        path = Path(path)
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else None

    def opened(self, path, descriptor, *, created):
        name = self.name(path)
        self._open.pop(descriptor, None)
        if name is None:
            return
        if created:
            self._files[name] = f"{name} of event {len(self.events)}"
            self.events.append(("create", name, self._files[name]))
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        self._open[descriptor] = ("folder", name) if folder else ("file", self._files[name])

    def written(self, descriptor, data):
        if descriptor in self._open:
            self.events.append(("write", self._open[descriptor][1], bytes(data)))

    def synced(self, descriptor):
        if descriptor in self._open:
            kind, name = self._open[descriptor]
            self.events.append((f"sync {kind}", name))

    def named(self, word, source, target):
        source, target = self.name(source), self.name(target)
        self._files[target] = self._files[source]
        if word == "rename":
            del self._files[source]
        self.events.append((word, source, target, self._files[target]))

    def unlinked(self, path):
        self.events.append(("unlink", self.name(path)))

    def made(self, path):
        self.events.append(("mkdir", self.name(path)))


@contextmanager
def recording(folder, monkeypatch):
    """What is done below the folder meanwhile, by way of ``os`` and ``Path``."""
    noted = Recording(folder)
    with monkeypatch.context() as patch:
        for name, recorder in (("open", _opens), ("write", _writes), ("fsync", _syncs)):
            patch.setattr(os, name, recorder(getattr(os, name), noted))
        patch.setattr(os, "link", _names(os.link, noted, "link"))
        patch.setattr(Path, "replace", _names(Path.replace, noted, "rename"))
        patch.setattr(Path, "unlink", _unlinks(Path.unlink, noted))
        patch.setattr(Path, "mkdir", _makes(Path.mkdir, noted))
        yield noted


def _opens(real, noted):
    def opening(path, flags, mode=0o777, **options):
        created = flags & os.O_CREAT and not os.path.lexists(path)
        assert not flags & os.O_TRUNC
        descriptor = real(path, flags, mode, **options)
        noted.opened(path, descriptor, created=created)
        return descriptor

    return opening


def _writes(real, noted):
    def writing(descriptor, data):
        count = real(descriptor, data)
        noted.written(descriptor, memoryview(data)[:count])
        return count

    return writing


def _syncs(real, noted):
    def syncing(descriptor):
        real(descriptor)
        noted.synced(descriptor)

    return syncing


def _names(real, noted, word):
    def naming(source, target):
        real(source, target)
        noted.named(word, source, target)

    return naming


def _unlinks(real, noted):
    def unlinking(path):
        real(path)
        noted.unlinked(path)

    return unlinking


def _makes(real, noted):
    def making(path, *arguments, **options):
        there = path.exists()
        real(path, *arguments, **options)
        if not there:
            noted.made(path)

    return making


class Disk:
    """What is durable, and what is not yet."""

    def __init__(self, start):
        self._durable = {each: data for each, data in start.items() if data is not FOLDER}
        self._content = dict(self._durable)
        self._entries = {".": {}}
        for path, data in start.items():
            folder, name = split(path)
            self._entries.setdefault(folder, {})[name] = FOLDER if data is FOLDER else path
            if data is FOLDER:
                self._entries.setdefault(path, {})
        self._pending = {folder: [] for folder in self._entries}

    def replay(self, event):
        word, *what = event
        if word == "write":
            self._content[what[0]] += what[1]
        elif word == "sync file":
            self._durable[what[0]] = self._content[what[0]]
        elif word == "sync folder":
            (self._entries[what[0]],) = changed(self._entries[what[0]], self._pending[what[0]])
            self._pending[what[0]] = []
        elif word == "create":
            self._durable[what[1]] = self._content[what[1]] = b""
            self._change(what[0], ("set", split(what[0])[1], what[1]))
        elif word == "link":
            self._change(what[1], ("set", split(what[1])[1], what[2]))
        elif word == "rename":
            assert split(what[0])[0] == split(what[1])[0]
            self._change(what[1], ("rename", split(what[0])[1], split(what[1])[1], what[2]))
        elif word == "unlink":
            self._change(what[0], ("unlink", split(what[0])[1]))
        elif word == "mkdir":
            self._entries[what[0]], self._pending[what[0]] = {}, []
            self._change(what[0], ("set", split(what[0])[1], FOLDER))
        else:
            assert word == "done"

    def _change(self, path, change):
        self._pending[split(path)[0]].append(change)

    def trees(self):
        """Every tree that could be found if the power went now: {path: bytes, or FOLDER}."""
        folders = list(self._entries)
        for choice in itertools.product(*(self._outcomes(folder) for folder in folders)):
            found = dict(reachable(dict(zip(folders, choice, strict=True))))
            names = [path for path, each in found.items() if each is not FOLDER]
            inodes = sorted({found[path] for path in names})
            for contents in itertools.product(*(self._contents(each) for each in inodes)):
                content = dict(zip(inodes, contents, strict=True))
                yield {p: FOLDER if e is FOLDER else content[e] for p, e in found.items()}

    def _outcomes(self, folder):
        """Every set of entries that the folder could have, each a dictionary."""
        found = {frozenset(self._entries[folder].items())}
        for change in self._pending[folder]:
            found |= {
                frozenset(after.items())
                for before in found
                for after in every_way(dict(before), change)
            }
        return [dict(each) for each in found]

    def _contents(self, inode):
        durable, full = self._durable[inode], self._content[inode]
        if durable == full:
            return [full]
        return list({durable, b"", full[: len(full) // 2], bytes(len(full)), full})

    def live(self):
        """The tree that a program sees that runs on."""
        entries = {
            folder: next(changed(self._entries[folder], self._pending[folder]))
            for folder in self._entries
        }
        found = reachable(entries)
        return {p: FOLDER if e is FOLDER else self._content[e] for p, e in found}


def changed(entries, changes):
    """All changes made."""
    for change in changes:
        *_, entries = every_way(entries, change)
    yield entries


def every_way(entries, change):
    """What one change may make of the entries: cut in every way, and last, done."""
    word, name, *rest = change
    if word == "rename":
        target, inode = rest
        without = {key: value for key, value in entries.items() if key not in {name, target}}
        yield without
        yield {**entries, target: inode}
        yield {**without, target: inode}
    elif word == "set":
        yield {**entries, name: rest[0]}
    else:
        yield {key: value for key, value in entries.items() if key != name}


def reachable(entries, folder="."):
    for name, each in entries[folder].items():
        path = name if folder == "." else f"{folder}/{name}"
        yield path, each
        if each is FOLDER:
            yield from reachable(entries, path)


def split(path):
    folder, _, name = path.rpartition("/")
    return folder or ".", name


def tree_of(folder):
    """What lies in a folder."""
    return {
        str(each.relative_to(folder)): FOLDER if each.is_dir() else each.read_bytes()
        for each in sorted(folder.rglob("*"))
    }


def plant(tree, folder):
    """Make it lie there."""
    folder.mkdir()
    for path, data in sorted(tree.items()):
        if data is FOLDER:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)
            (folder / path).chmod(0o600)
