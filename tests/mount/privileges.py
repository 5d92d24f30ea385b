"""What is left of set-id bits and capabilities when a file changes, and what running it gives then.

make:       a tree in the current directory, one file for each case.
call USER:  the cases of USER, run as that user: a line each, to standard output.
users:      the names of the users.
"""
import ctypes
import errno
import itertools
import mmap
import os
import struct
import sys

PROGRAM = "/bin/cat"
GROUP, OWNER, RUNNER = 50, 65534, 65533
PAGE = 4096

# Name: user, group, supplementary groups, whether CAP_FSETID is there.
USERS = {
    "root": (0, 0, [], True),
    "root-without-fsetid": (0, 0, [], False),
    "stranger": (OWNER, OWNER, [], False),
    "member": (OWNER, GROUP, [], False),
    "supplementary-member": (OWNER, OWNER, [7, GROUP], False),
    "stranger-with-fsetid": (OWNER, OWNER, [], True),
}
# The second: with a file capability.
MODES = [(0o777, True), (0o4777, False), (0o6777, True), (0o2777, False), (0o2767, False), (0o2666, False), (0o6666, False)]
# What the kernel has seen of the file before, and what asks for the mode first afterwards.
LOOKS = [("unseen", "run"), ("seen", "run"), ("seen", "statx")]

libc = ctypes.CDLL(None, use_errno=True)
CAP_FSETID, PR_SET_KEEPCAPS = 4, 8
AT_STATX_SYNC_AS_STAT, AT_FDCWD, STATX_MODE = 0, -100, 2


def mode_alone(path):
    buffer = ctypes.create_string_buffer(256)
    if libc.statx(AT_FDCWD, os.fsencode(path), AT_STATX_SYNC_AS_STAT, STATX_MODE, buffer) != 0:
        return "?"
    return oct(struct.unpack_from("<H", buffer, 28)[0] & 0o7777)


def set_effective(add, remove):
    """capset(2): changes the effective capabilities of this process."""
    header = struct.pack("<Ii", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    assert libc.capget(header, data) == 0
    effective, permitted, inheritable, *high = struct.unpack("<6I", data.raw)
    effective = (effective | add) & ~remove
    permitted &= ~remove
    data = struct.pack("<6I", effective, permitted, inheritable & ~remove, *high)
    assert libc.capset(header, data) == 0, ctypes.get_errno()


def become(name):
    user, group, groups, has_fsetid = USERS[name]
    os.setgroups(groups)
    os.setresgid(group, group, group)
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setresuid(user, user, user)
    mask = 1 << CAP_FSETID
    if has_fsetid:
        set_effective(mask, 0)
    elif user == 0:
        set_effective(0, mask)
    if user != 0:
        # Nothing but this one.
        set_effective(0, 0xFFFFFFFF & ~(mask if has_fsetid else 0))


def run(path):
    """Effective user, group and capabilities of the program, run by another user."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(RUNNER, RUNNER, RUNNER)
                os.setresuid(RUNNER, RUNNER, RUNNER)
            os.dup2(writing, 1)
            os.execv(path, [path, "/proc/self/status"])
        except OSError as error:
            os.write(writing, f"Uid:\t{errno.errorcode[error.errno]}\n".encode())
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as output:
        text = output.read()
    os.waitpid(child, 0)
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    words = fields.get("Uid", "nothing").split()
    return "/".join([words[1] if len(words) > 1 else words[0], fields.get("Gid", "- -").split()[1], fields.get("CapEff", "-")])


def opened(path, flags, work):
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        return work(descriptor)
    finally:
        os.close(descriptor)


def direct(path):
    with mmap.mmap(-1, PAGE) as page:
        opened(path, os.O_RDONLY, lambda d: os.preadv(d, [page], 0))
        opened(path, os.O_WRONLY | os.O_DIRECT, lambda d: os.pwrite(d, page, 0))


def mapped(path):
    def change(descriptor):
        with mmap.mmap(descriptor, PAGE) as page:
            page[0:4] = page[0:4]
            page.flush()
        os.fsync(descriptor)
    opened(path, os.O_RDWR, change)


def copied(path):
    with open(PROGRAM, "rb") as file:
        source = os.memfd_create("source")
        os.write(source, file.read())
    opened(path, os.O_WRONLY, lambda d: os.sendfile(d, source, 0, PAGE))
    os.close(source)


def ranged(path):
    def copy(descriptor):
        with open("source/program", "rb") as source:
            try:
                os.copy_file_range(source.fileno(), descriptor, PAGE, 0, 0)
            except OSError as error:
                # From a layer below, overlayfs cannot; programs then read and write (copy_file_range(2)).
                if error.errno != errno.EXDEV:
                    raise
                os.pwrite(descriptor, source.read(PAGE), 0)
    opened(path, os.O_WRONLY, copy)


def start(path):
    with open(path, "rb") as file:
        return file.read(10)


def size(path):
    return os.stat(PROGRAM).st_size


CALLS = {
    "nothing": lambda p: None,
    "write": lambda p: opened(p, os.O_RDWR, lambda d: os.pwrite(d, b"\x7fELF", 0)),
    "write-only": lambda p: opened(p, os.O_WRONLY, lambda d: os.pwrite(d, b"\x7fELF", 0)),
    "write-nothing": lambda p: opened(p, os.O_WRONLY, lambda d: os.pwrite(d, b"", 0)),
    "write-synced": lambda p: opened(p, os.O_WRONLY | os.O_SYNC, lambda d: os.pwrite(d, b"\x7fELF", 0)),
    "append": lambda p: opened(p, os.O_WRONLY | os.O_APPEND, lambda d: os.write(d, b"x")),
    "direct": direct,
    "mapped": mapped,
    "truncate": lambda p: os.truncate(p, size(p)),
    "ftruncate": lambda p: opened(p, os.O_RDWR, lambda d: os.ftruncate(d, size(p) + 1)),
    "open-truncate": lambda p: opened(p, os.O_WRONLY | os.O_TRUNC, lambda d: None),
    "fallocate": lambda p: opened(p, os.O_RDWR, lambda d: os.posix_fallocate(d, 0, PAGE)),
    "extend": lambda p: opened(p, os.O_RDWR, lambda d: os.posix_fallocate(d, size(p), PAGE)),
    "copy_file_range": ranged,
    "sendfile": copied,
    "chown": lambda p: os.chown(p, OWNER, -1),
    "chgrp": lambda p: os.chown(p, -1, GROUP),
    "own-chown": lambda p: os.chown(p, OWNER, -1),
    "own-chgrp": lambda p: os.chown(p, -1, OWNER),
    "own-chmod": lambda p: os.chmod(p, 0o6767),
    "own-write": lambda p: opened(p, os.O_RDWR, lambda d: os.pwrite(d, b"\x7fELF", 0)),
    "utime": lambda p: os.utime(p),
}
# These are like another call to the cache, and have one look only.
QUICK = {"nothing", "write-nothing", "utime", "write-only", "write-synced", "append", "ftruncate", "extend", "sendfile", "own-chmod",
         "own-write"}


def cases(user):
    for call, (mode, has_capability), look in itertools.product(CALLS, MODES, LOOKS):
        if look == LOOKS[1] or call not in QUICK:
            yield f"{user}/{call}-{mode:o}{'-capability' if has_capability else ''}-{look[0]}-{look[1]}", call, mode, has_capability, look


def make():
    with open(PROGRAM, "rb") as file:
        program = file.read()
    os.mkdir("source")
    with open("source/program", "wb") as file:
        file.write(program[:PAGE] + program[:PAGE])
    for user in USERS:
        os.mkdir(user)
        for path, call, mode, has_capability, _ in cases(user):
            with open(path, "wb") as file:
                file.write(program)
            os.chown(path, OWNER if call.startswith("own-") else 0, GROUP)
            os.chmod(path, mode)
            if has_capability:
                # vfs_cap_data, version 2: cap_net_raw, permitted and effective.
                os.setxattr(path, "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))


def call_all(user):
    become(user)
    for path, call, _, _, (before, first) in cases(user):
        if before == "seen":
            os.stat(path)
            mode_alone(path)
            if os.access(path, os.X_OK):
                run(path)
        try:
            CALLS[call](path)
            outcome = "done"
        except OSError as error:
            outcome = errno.errorcode[error.errno]
        ran = run(path) if first == "run" else None
        mode = mode_alone(path)
        full = os.stat(path)
        ran = ran or run(path)
        capability = "security.capability" in os.listxattr(path)
        content = start(path).hex()
        print(f"{path}: {outcome}; mode {mode}, {oct(full.st_mode & 0o7777)}; runs as {ran}; {capability} {full.st_uid}:{full.st_gid} {full.st_size} {content}")


match sys.argv[1:]:
    case ["make"]:
        os.umask(0)
        make()
    case ["call", user]:
        call_all(user)
    case ["users"]:
        print("\n".join(USERS))
