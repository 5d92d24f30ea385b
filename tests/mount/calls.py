"""Every call on every kind of file, by root and by somebody else.

make:  a tree in the current directory, one file for each call.
touch: changes each of them without a change that is seen, which copies it up.
call:  the calls, each with what it gave and what became of the file, to standard output.
"""
import errno
import os
import socket
import stat
import sys

USERS = [0, 65534]
KINDS = ["regular", "empty", "directory", "full", "symlink", "fifo", "char", "block", "socket", "setid"]


def path_of(user, owner, kind, call):
    return f"{user}/{owner}-{kind}-{call}"


def create(path, kind):
    if kind in ("regular", "setid"):
        with open(path, "w") as file:
            file.write("content\n" * 1000)
    elif kind == "empty":
        open(path, "w").close()
    elif kind in ("directory", "full"):
        os.mkdir(path)
        if kind == "full":
            open(path + "/inside", "w").close()
    elif kind == "symlink":
        os.symlink("nowhere", path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "char":
        os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 3))
    elif kind == "block":
        os.mknod(path, stat.S_IFBLK | 0o644, os.makedev(7, 250))
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)


def opened(path, flags):
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if flags & (os.O_WRONLY | os.O_RDWR) and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.write(descriptor, b"new")
        elif flags & os.O_ACCMODE == os.O_RDONLY and stat.S_ISREG(os.fstat(descriptor).st_mode):
            return size, os.read(descriptor, 20)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def allocated(path):
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        os.posix_fallocate(descriptor, 9000, 100)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def connected(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


CALLS = {
    "chmod": lambda p: os.chmod(p, 0o6751),
    "chown-owner": lambda p: os.lchown(p, 7, -1),
    "chown-group": lambda p: os.lchown(p, -1, 65534),
    "utime": lambda p: os.utime(p, ns=(1_000_000_001, 2_000_000_002), follow_symlinks=False),
    "utime-now": lambda p: os.utime(p, follow_symlinks=False),
    "truncate": lambda p: os.truncate(p, 100),
    "extend": lambda p: os.truncate(p, 100_000),
    "open-read": lambda p: opened(p, os.O_RDONLY),
    "open-write": lambda p: opened(p, os.O_WRONLY),
    "open-both": lambda p: opened(p, os.O_RDWR),
    "open-append": lambda p: opened(p, os.O_WRONLY | os.O_APPEND),
    "open-truncate": lambda p: opened(p, os.O_WRONLY | os.O_TRUNC),
    "open-exclusive": lambda p: opened(p, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "open-create": lambda p: opened(p, os.O_RDWR | os.O_CREAT),
    "open-nofollow": lambda p: opened(p, os.O_RDONLY | os.O_NOFOLLOW),
    "open-directory": lambda p: opened(p, os.O_RDONLY | os.O_DIRECTORY),
    "allocate": allocated,
    "connect": connected,
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "rename": lambda p: os.rename(p, p + ".new"),
    "rename-over-file": lambda p: os.rename(p, p + ".file"),
    "rename-over-directory": lambda p: os.rename(p, p + ".directory"),
    "rename-over-full": lambda p: os.rename(p, p + ".full"),
    "rename-below-itself": lambda p: os.rename(p, p + "/below"),
    "link": lambda p: os.link(p, p + ".new", follow_symlinks=False),
    "link-over": lambda p: os.link(p, p + ".file", follow_symlinks=False),
    "symlink-over": lambda p: os.symlink("x", p),
    "mkdir-over": os.mkdir,
    "mkfifo-over": os.mkfifo,
    "mkdir-in": lambda p: os.mkdir(p + "/in"),
    "create-in": lambda p: opened(p + "/in", os.O_WRONLY | os.O_CREAT),
    "listdir": lambda p: sorted(os.listdir(p)),
    "readlink": os.readlink,
    "stat": lambda p: stat.S_IFMT(os.stat(p).st_mode),
    "access-read": lambda p: os.access(p, os.R_OK),
    "access-write": lambda p: os.access(p, os.W_OK),
    "access-execute": lambda p: os.access(p, os.X_OK),
    "set-user-attribute": lambda p: os.setxattr(p, "user.a", b"value", follow_symlinks=False),
    "set-trusted-attribute": lambda p: os.setxattr(p, "trusted.a", b"value", follow_symlinks=False),
    "get-attribute": lambda p: os.getxattr(p, "user.none", follow_symlinks=False),
    "remove-attribute": lambda p: os.removexattr(p, "user.none", follow_symlinks=False),
    "list-attributes": lambda p: os.listxattr(p, follow_symlinks=False),
    "chdir-up": lambda p: os.stat(p + "/../.").st_mode,
}


def each():
    for user in USERS:
        for owner in USERS:
            for kind in KINDS:
                for call in CALLS:
                    yield user, owner, kind, call, path_of(user, owner, kind, call)


def make():
    os.umask(0)
    # A base in which nothing has an attribute does not support them.
    create("attributed", "empty")
    os.setxattr("attributed", "user.a", b"value")
    for user in USERS:
        os.mkdir(str(user), 0o777)
    for _, owner, kind, call, path in each():
        create(path, kind)
        os.lchown(path, owner, owner)
        if kind != "symlink":
            os.chmod(path, 0o6755 if kind == "setid" else 0o755 if kind in ("directory", "full") else 0o644)
        if "-over-file" in call or call == "link-over":
            create(path + ".file", "regular")
        if call == "rename-over-directory":
            create(path + ".directory", "directory")
        if call == "rename-over-full":
            create(path + ".full", "full")
    for user in USERS:
        for directory, _, files in os.walk(str(user)):
            for name in files:
                os.utime(os.path.join(directory, name), ns=(10**18, 10**18), follow_symlinks=False)
            os.utime(directory, ns=(10**18, 10**18))


def touch():
    for *_, path in each():
        before = os.lstat(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)


def seen(path):
    try:
        it = os.lstat(path)
    except OSError as error:
        return errno.errorcode[error.errno]
    size = it.st_size if not stat.S_ISDIR(it.st_mode) else "-"
    links = it.st_nlink if not stat.S_ISDIR(it.st_mode) else "-"
    old = it.st_mtime_ns == 10**18
    rdev = it.st_rdev if stat.S_ISCHR(it.st_mode) or stat.S_ISBLK(it.st_mode) else 0
    return f"{it.st_mode:o} {it.st_uid}:{it.st_gid} {links} {size} {rdev} {'old' if old else 'new'}"


def call_all():
    for user in USERS:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            os.umask(0o022)
            for by, owner, kind, call, path in each():
                if by != user:
                    continue
                try:
                    outcome = CALLS[call](path)
                except OSError as error:
                    outcome = errno.errorcode[error.errno]
                print(f"{user} {owner} {kind} {call}: {outcome}; {seen(path)}; {seen(path + '.new')}")
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


{"make": make, "touch": touch, "call": call_all}[sys.argv[1]]()
