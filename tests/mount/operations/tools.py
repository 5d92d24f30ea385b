"""A long list of file system operations, each in a directory of its own, and what they gave. The files of this
directory are one program, in the order that `conformance.rs` names.

make:  the directories, below the current one.
call:  the operations; a line each, to standard output: its name, its outcome, and what is different in the directory.
"""
import array
import ctypes
import errno
import fcntl
import itertools
import mmap
import os
import resource
import shutil
import signal
import socket
import stat
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR = -100, 0x1000, 0x400, 0x100, 0x200
OTHER = 65534
PAGE = 4096
MAX = 2**63 - 1
CASES = {}


def name_of(number):
    return errno.errorcode.get(number, str(number))


def case(name, work, prepare=None):
    """Adds an operation; `prepare` is called by `make`, in the same directory."""
    assert name not in CASES and "/" not in name, name
    CASES[name] = (work, prepare or (lambda: None))


def cases(prefix, table):
    for name, work in table.items():
        case(f"{prefix}-{name}", work)


def call(function, *arguments):
    """A function of libc, whose error becomes an OSError."""
    words = [os.fsencode(word) if isinstance(word, str) else word for word in arguments]
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
    result = getattr(libc, function)(*words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def outcome(work, *arguments):
    try:
        return work(*arguments)
    except OSError as error:
        return name_of(error.errno)


def several(*works):
    """The outcomes of operations one after the other."""
    return lambda: [outcome(work) for work in works]


def standard():
    """What every directory begins with."""
    with open("file", "wb") as file:
        file.write(b"0123456789" * 1000)
    os.link("file", "hard")
    with open("other", "wb") as file:
        file.write(b"other")
    open("empty", "w").close()
    os.mkdir("dir")
    os.mkdir("full")
    open("full/inside", "w").close()
    os.symlink("file", "link")
    os.symlink("nowhere", "dangling")
    os.symlink("loop", "loop")
    os.symlink("full", "dirlink")
    os.mkfifo("fifo")


def tree():
    """The current directory as it is now: kinds, modes, owners, link counts, sizes, beginning of content, attributes."""
    found = []
    for directory, directories, files in os.walk("."):
        for name in sorted(directories + files):
            path = os.path.join(directory, name)
            it = os.lstat(path)
            words = [path[2:], f"{it.st_mode:o}", f"{it.st_uid}:{it.st_gid}", str(it.st_nlink)]
            if stat.S_ISREG(it.st_mode):
                with open(path, "rb") as file:
                    words += [str(it.st_size), repr(file.read(12)), str(sum(file.read(100000)))]
            elif stat.S_ISLNK(it.st_mode):
                words += [str(it.st_size), os.readlink(path)[:20]]
            elif stat.S_ISCHR(it.st_mode) or stat.S_ISBLK(it.st_mode):
                words.append(str(it.st_rdev))
            words += sorted(os.listxattr(path, follow_symlinks=False))
            found.append(" ".join(words))
    return set(found)


class opened:
    """An open file, as a context."""

    def __init__(self, path, flags, mode=0o644):
        self.descriptor = os.open(path, flags | os.O_CLOEXEC, mode)

    def __enter__(self):
        return self.descriptor

    def __exit__(self, *_):
        os.close(self.descriptor)


def with_open(path, flags, work):
    def run():
        with opened(path, flags) as descriptor:
            return work(descriptor)
    return run


def as_other(work, groups=()):
    """Runs an operation as a user without privileges."""
    def run():
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups(list(groups))
                os.setresgid(OTHER, OTHER, OTHER)
                os.setresuid(OTHER, OTHER, OTHER)
                os.write(writing, repr(outcome(work)).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as output:
            text = output.read()
        os.waitpid(child, 0)
        return text
    return run
