"""Attributes, ACLs, times, inode flags, modes, kinds of nodes."""

def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, who & 0xFFFFFFFF) for tag, bits, who in entries)


GOOD_ACL = acl((1, 7, -1), (2, 5, 7), (4, 5, -1), (16, 5, -1), (32, 0, -1))
BASE_ACL = acl((1, 6, -1), (4, 4, -1), (32, 4, -1))
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
for path in ["file", "dir", "link", "fifo"]:
    def table(path=path):
        quick = lambda name, value=b"v", flags=0: outcome(lambda: os.setxattr(path, name, value, flags, follow_symlinks=False))
        gone = lambda name: outcome(lambda: os.removexattr(path, name, follow_symlinks=False))
        got = lambda name: outcome(lambda: os.getxattr(path, name, follow_symlinks=False))
        names = ["user.a", "trusted.a", "security.a", "system.a", "other.a", "user.", "user", "", "user." + "n" * 250, "user." + "n" * 251]
        seen = {name[:20] + str(len(name)): (quick(name), got(name)) for name in names}
        seen["flags"] = [quick("trusted.b", b"1", 1), quick("trusted.b", b"2", 1), quick("trusted.b", b"3", 2), quick("trusted.c", b"4", 2), quick("trusted.b", b"5", 4), got("trusted.b")]
        seen["empty"] = [quick("trusted.empty", b""), got("trusted.empty")]
        seen["sizes"] = [(size, quick("trusted.big", b"x" * size), gone("trusted.big")) for size in (1000, 65536, 65537)]
        seen["gone"] = [gone("trusted.a"), gone("trusted.a"), gone("user.none"), gone("trusted.empty")]
        seen["acl"] = [quick(ACCESS, GOOD_ACL), quick(ACCESS, b"xx"), quick(ACCESS, acl((1, 7, -1))), quick(ACCESS, b""), quick(ACCESS, BASE_ACL), got(ACCESS),
                       quick(DEFAULT, GOOD_ACL), got(DEFAULT), gone(DEFAULT), gone(DEFAULT), gone(ACCESS)]
        seen["list"] = sorted(os.listxattr(path, follow_symlinks=False))
        return seen
    case(f"xattr-{path}", table)
cases("xattr", {
    "short-buffers": several(lambda: os.setxattr("file", "user.a", b"0123456789"), lambda: call("getxattr", "file", "user.a", None, 0),
                             lambda: call("getxattr", "file", "user.a", ctypes.create_string_buffer(5), 5), lambda: call("listxattr", "file", ctypes.create_string_buffer(3), 3),
                             lambda: call("listxattr", "file", None, 0)),
    "by-other": as_other(several(lambda: os.setxattr("file", "user.a", b""), lambda: os.getxattr("file", "trusted.a"), lambda: os.setxattr("file", ACCESS, BASE_ACL),
                                 lambda: os.listxattr("file"))),
    "sticky-by-other": lambda: (os.chmod("dir", 0o1777), as_other(lambda: os.setxattr("dir", "user.a", b""))()),
    "acl-decides": lambda: (os.setxattr("file", ACCESS, acl((1, 6, -1), (2, 6, OTHER), (4, 0, -1), (16, 6, -1), (32, 0, -1))), oct(os.stat("file").st_mode),
                            as_other(lambda: open("file", "r+").write("x"))(), os.chmod("file", 0o600), as_other(lambda: open("file").read(1))(), os.getxattr("file", ACCESS)),
    "acl-handed-down": lambda: (os.setxattr("dir", DEFAULT, GOOD_ACL), os.mkdir("dir/below"), open("dir/file", "x").close(), os.getxattr("dir/below", DEFAULT) == GOOD_ACL,
                                os.getxattr("dir/file", ACCESS), oct(os.stat("dir/file").st_mode), oct(os.stat("dir/below").st_mode)),
    "space": lambda: [outcome(lambda: os.setxattr("file", f"user.{n}", b"x" * 600)) for n in range(10)],
})


# Modes, owners, times.

def times(path="file"):
    it = os.stat(path, follow_symlinks=False)
    return it.st_atime_ns, it.st_mtime_ns


def utimens(path, atime, mtime, flags=0):
    values = (ctypes.c_long * 4)(*atime, *mtime)
    return call("utimensat", AT_FDCWD, path, values, flags)


NOW, OMIT = (0, (1 << 30) - 1), (0, (1 << 30) - 2)


def time_table():
    seen = []
    utimens("file", (10, 20), (30, 40))
    for atime, mtime in [((1, 5), (2, 6)), (OMIT, (3, 7)), ((4, 8), OMIT), (OMIT, OMIT), ((0, 10**9), (0, 0)), ((0, -1), (0, 0)), ((-5, 500), (-1, 999999999)),
                         ((2**31, 1), (2**32, 2)), ((2**33, 0), (2**33, 0)), ((2**40, 0), (2**40, 0)), ((-2**33, 0), (-2**33, 0)), ((0, 0), (0, 0))]:
        seen.append((outcome(lambda: utimens("file", atime, mtime)), times()))
    for atime, mtime in [(NOW, (9, 9)), ((9, 9), NOW), (NOW, NOW)]:
        outcome(lambda: utimens("file", atime, mtime))
        seen.append([abs(value / 1e9 - time.time()) < 60 for value in times()])
    seen.append((outcome(lambda: utimens("link", (7, 7), (8, 8), AT_SYMLINK_NOFOLLOW)), times("link"), outcome(lambda: utimens("dangling", (7, 7), (8, 8)))))
    return seen


cases("times", {
    "table": time_table,
    "by-other": lambda: (os.chmod("file", 0o666), as_other(several(lambda: utimens("file", NOW, NOW), lambda: utimens("file", (1, 1), (1, 1)), lambda: utimens("file", NOW, OMIT),
                                                                   lambda: utimens("file", OMIT, OMIT)))()),
})


def changes(work, paths=("file", ".")):
    """Which times an operation changes: of the file, and of the directory."""
    def run():
        seen = lambda: [(it.st_mtime_ns, it.st_ctime_ns) for it in (os.stat(path) for path in paths)]
        before = seen()
        time.sleep(0.03)
        done = outcome(work)
        return done, ["".join(letter for letter, old, new in zip("mc", *pair) if old != new) for pair in zip(before, seen())]
    return run


cases("changes", {
    "write": changes(with_open("file", os.O_WRONLY, lambda d: os.write(d, b"x"))),
    "write-nothing": changes(with_open("file", os.O_WRONLY, lambda d: os.write(d, b""))),
    "read": changes(lambda: len(open("file").read())),
    "open-truncate": changes(with_open("empty", os.O_WRONLY | os.O_TRUNC, lambda d: None), ("empty", ".")),
    "truncate-same": changes(lambda: os.truncate("file", 10000)),
    "ftruncate-same": changes(with_open("file", os.O_WRONLY, lambda d: os.ftruncate(d, 10000))),
    "truncate": changes(lambda: os.truncate("file", 5)),
    "chmod": changes(lambda: os.chmod("file", 0o600)),
    "chmod-same": changes(lambda: os.chmod("file", stat.S_IMODE(os.stat("file").st_mode))),
    "chown": changes(lambda: os.chown("file", 7, 8)),
    "chown-nothing": changes(lambda: os.chown("file", -1, -1)),
    "setxattr": changes(lambda: os.setxattr("file", "user.a", b"1")),
    "removexattr": changes(lambda: os.removexattr("file", "user.none")),
    "utime": changes(lambda: utimens("file", (1, 1), OMIT)),
    "link": changes(lambda: os.link("file", "new")),
    "unlink": changes(lambda: os.unlink("hard")),
    "rename": changes(lambda: os.rename("hard", "new")),
    "rename-over": changes(lambda: os.rename("other", "hard")),
    "exchange": changes(lambda: rename("file", "other", EXCHANGE)),
    "rename-away": changes(lambda: os.rename("hard", "dir/new"), ("file", ".", "dir")),
    "rename-directory": changes(lambda: os.rename("full", "dir/new"), ("file", ".", "dir")),
    "mkdir": changes(lambda: os.mkdir("dir/x"), ("dir", ".")),
    "create": changes(lambda: open("dir/x", "x").close(), ("dir", ".")),
    "create-existing": changes(lambda: open("full/inside", "a").close(), ("full", "full/inside")),
    "symlink": changes(lambda: os.symlink("x", "dir/x"), ("dir", ".")),
    "rmdir": changes(lambda: os.rmdir("dir"), ("full", ".")),
    "unlink-inside": changes(lambda: os.unlink("full/inside"), ("full", ".")),
    "fallocate": changes(with_open("file", os.O_WRONLY, lambda d: call("fallocate", d, 0, 0, 20000))),
    "fallocate-keep": changes(with_open("file", os.O_WRONLY, lambda d: call("fallocate", d, 1, 0, 20000))),
    "punch": changes(with_open("file", os.O_WRONLY, lambda d: call("fallocate", d, 3, 0, 4096))),
    "copy-range": changes(copy("other", "file", 5, 0, 0)),
    "flags": changes(lambda: set_flags("file", 0x40)),
})


def flags_of(path):
    with opened(path, os.O_RDONLY | os.O_NONBLOCK) as file:
        value = array.array("i", [0])
        fcntl.ioctl(file, 0x80086601, value)
        return value[0] & ~0x80000


def set_flags(path, flags):
    with opened(path, os.O_RDONLY | os.O_NONBLOCK) as file:
        value = array.array("i", [0])
        fcntl.ioctl(file, 0x80086601, value)
        fcntl.ioctl(file, 0x40086602, array.array("i", [flags | value[0] & 0x80000]))
    return flags_of(path)


cases("flags", {
    "get": several(lambda: flags_of("file"), lambda: flags_of("dir"), lambda: flags_of("empty")),
    "set": several(lambda: set_flags("file", 0x40), lambda: set_flags("dir", 0xC0), lambda: set_flags("file", 0x8), lambda: os.pread(os.open("file", os.O_RDONLY), 3, 0),
                   lambda: set_flags("file", 0), lambda: open("file", "r+").write("x")),
    "by-other": as_other(lambda: set_flags("file", 0x40)),
    "immutable": several(lambda: set_flags("file", 0x10), lambda: set_flags("file", 0)),
    "append-only": several(lambda: set_flags("file", 0x20), lambda: set_flags("file", 0)),
    "by-fd-of-fifo": lambda: flags_of("fifo"),
    "stay": several(lambda: set_flags("file", 0x40), lambda: os.rename("file", "moved"), lambda: flags_of("moved"), lambda: flags_of("hard")),
})


def special(kind, mode=0o644, device=0):
    return lambda: os.mknod(f"new{kind:o}", kind | mode, device)


KINDS_OF_NODES = [0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFDIR, stat.S_IFLNK, 0o30000, 0o150000]
cases("mode", {
    "mknod": several(*[special(kind, device=os.makedev(7, 77)) for kind in KINDS_OF_NODES]),
    "mknod-by-other": lambda: (os.chmod("dir", 0o777), os.chdir("dir"), as_other(several(*[special(kind, device=os.makedev(7, 77)) for kind in KINDS_OF_NODES]))(), os.chdir("..")),
    "mknod-over": several(*[lambda path=path: os.mknod(path) for path in ("file", "dir", "link", "dangling", "missing/x", "file/x", "missing/")]),
    "zero-device": several(special(stat.S_IFCHR), lambda: os.stat("new20000").st_rdev, lambda: os.rename("new20000", "dir/zero"), lambda: os.link("dir/zero", "zero"),
                           lambda: open("zero"), lambda: os.unlink("zero"), lambda: os.listdir("dir")),
    "bits": several(*[lambda mode=mode: (os.chmod("file", mode), oct(os.stat("file").st_mode)) for mode in (0, 0o7777, 0o1644, 0o4000, 0o10777)]),
    "umask": lambda: (os.umask(0o27), os.mkdir("new", 0o7777), os.close(os.open("newfile", os.O_CREAT | os.O_WRONLY, 0o6666)), os.umask(0o22), oct(os.stat("new").st_mode), oct(os.stat("newfile").st_mode)),
    "read-only-create": with_open("new", os.O_CREAT | os.O_RDWR, lambda d: (os.fchmod(d, 0), os.write(d, b"x"))),
    "unreadable-by-other": lambda: (os.chmod("full", 0o700), as_other(several(lambda: os.listdir("full"), lambda: os.stat("full/inside"), lambda: os.chdir("full")))(), os.chmod("full", 0o711),
                                    as_other(several(lambda: os.listdir("full"), lambda: os.stat("full/inside").st_size))()),
})


def sticky():
    os.chmod("dir", 0o1777)
    for name in ["root", "other", "target"]:
        open(f"dir/{name}", "x").close()
        os.mkdir(f"dir/{name}.d")
        if name == "other":
            os.chown(f"dir/{name}", OTHER, OTHER), os.chown(f"dir/{name}.d", OTHER, OTHER)
    return as_other(several(
        lambda: os.unlink("dir/root"), lambda: os.rmdir("dir/root.d"), lambda: os.rename("dir/root", "dir/x"), lambda: os.rename("dir/other", "dir/target"),
        lambda: rename("dir/other", "dir/target", EXCHANGE), lambda: os.rename("dir/other", "dir/x"), lambda: os.rename("dir/x", "dir/other"),
        lambda: os.rename("dir/other.d", "dir/target.d"), lambda: os.link("dir/other", "dir/y"), lambda: os.unlink("dir/other"), lambda: os.rmdir("dir/other.d"),
        lambda: open("dir/new", "x").close(), lambda: os.unlink("dir/new")))()


case("mode-sticky", sticky)
