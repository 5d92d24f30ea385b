"""Opening; names and paths; symbolic links."""

FLAGS = {"creat": os.O_CREAT, "excl": os.O_EXCL, "trunc": os.O_TRUNC, "append": os.O_APPEND, "nofollow": os.O_NOFOLLOW,
         "directory": os.O_DIRECTORY, "path": os.O_PATH}


def use(descriptor):
    """What an open file can do."""
    return several(
        lambda: os.write(descriptor, b"new"), lambda: os.lseek(descriptor, 0, os.SEEK_CUR),
        lambda: os.pread(descriptor, 5, 0), lambda: os.fstat(descriptor).st_size if stat.S_ISREG(os.fstat(descriptor).st_mode) else "",
        lambda: stat.S_IFMT(os.fstat(descriptor).st_mode))()


def each_open():
    seen = {}
    targets = ["file", "missing", "dir", "link", "dangling", "loop", "dirlink", "fifo"]
    for count in range(len(FLAGS) + 1):
        for words in itertools.combinations(FLAGS, count):
            for access, target in itertools.product([os.O_RDONLY, os.O_WRONLY, os.O_RDWR] + [3] * (count < 2), targets):
                number = sum(FLAGS[word] for word in words) | access | os.O_NONBLOCK
                # Python's own flag would be one more.
                try:
                    descriptor = call("open", target, number, 0o644)
                except OSError as error:
                    what = name_of(error.errno)
                else:
                    what = use(descriptor)
                    os.close(descriptor)
                seen[f"{'+'.join(words)} {access} {target}"] = what
                if number & (os.O_TRUNC | os.O_ACCMODE):
                    with open("file", "wb") as file:
                        file.write(b"0123456789")
                for made in ["missing", "nowhere"]:
                    if os.path.lexists(made):
                        os.unlink(made)
    return seen


# One line each would be many; a difference is looked up in the long line.
case("open-flags", each_open)


def trailing():
    """Opening names that end with a slash, or with a dot."""
    seen = {}
    for target, flags in itertools.product(["file/", "dir/", "missing/", "link/", "dirlink/", "dangling/", "dir/.", "missing/.", "file/.", "dir/..", "loop/", ""],
                                           [os.O_RDONLY, os.O_WRONLY, os.O_CREAT | os.O_WRONLY, os.O_CREAT | os.O_EXCL, os.O_DIRECTORY, os.O_DIRECTORY | os.O_CREAT,
                                            os.O_NOFOLLOW, os.O_TRUNC | os.O_WRONLY, os.O_PATH | os.O_NOFOLLOW]):
        seen[target, flags] = outcome(lambda: os.close(os.open(target, flags)))
    return seen


case("open-trailing", trailing)


def path_descriptor():
    with opened("file", os.O_PATH) as file, opened("dir", os.O_PATH) as directory:
        return several(
            lambda: os.read(file, 1), lambda: os.write(file, b"x"), lambda: os.fchmod(file, 0o600), lambda: os.ftruncate(file, 0),
            lambda: os.getxattr(file, "user.a"), lambda: os.fstat(file).st_size, lambda: os.listdir(directory),
            lambda: os.stat("x", dir_fd=directory), lambda: os.mkdir("x", dir_fd=directory), lambda: os.fsync(file),
            lambda: os.open("", os.O_RDONLY, dir_fd=file), lambda: call("fchownat", file, "", 7, 8, AT_EMPTY_PATH),
            lambda: os.close(os.open(f"/proc/self/fd/{file}", os.O_WRONLY)), lambda: fcntl.flock(file, fcntl.LOCK_EX))()


def unnamed():
    with opened(".", os.O_TMPFILE | os.O_RDWR) as file:
        os.write(file, b"unnamed")
        return several(lambda: os.fstat(file).st_nlink, lambda: linkat(f"/proc/self/fd/{file}", "named", AT_SYMLINK_FOLLOW),
                       lambda: linkat("", "other", AT_EMPTY_PATH, file), lambda: os.fstat(file).st_nlink)()


def unnamed_exclusive():
    with opened("dir", os.O_TMPFILE | os.O_RDWR | os.O_EXCL) as file:
        return outcome(lambda: linkat(f"/proc/self/fd/{file}", "named", AT_SYMLINK_FOLLOW))


def busy_text():
    with open("/bin/true", "rb") as file:
        program = file.read()
    with open("program", "wb") as file:
        file.write(program)
    os.chmod("program", 0o755)
    with opened("program", os.O_WRONLY):
        return outcome(lambda: os.execv("program", ["program"]))


cases("open", {
    "path-descriptor": path_descriptor,
    "unnamed": unnamed,
    "unnamed-exclusive": unnamed_exclusive,
    "unnamed-read-only": lambda: os.open(".", os.O_TMPFILE | os.O_RDONLY),
    "unnamed-in-file": lambda: os.open("file", os.O_TMPFILE | os.O_RDWR),
    "busy-text": busy_text,
    "truncate-for-reading": several(lambda: os.close(os.open("file", os.O_RDONLY | os.O_TRUNC)), lambda: os.stat("file").st_size),
    "two-appenders": lambda: [os.write(d, b"x%d" % n) for n, d in enumerate([os.open("other", os.O_WRONLY | os.O_APPEND) for _ in "ab"])]
    and open("other").read(),
    "append-pwrite": with_open("other", os.O_RDWR | os.O_APPEND, lambda d: (os.pwrite(d, b"X", 0), os.pread(d, 9, 0))),
    "file-as-directory": several(lambda: open("file/x"), lambda: os.stat("file/."), lambda: os.mkdir("file/x"), lambda: os.listdir("file")),
    "no-atime-by-other": as_other(lambda: os.open("file", os.O_RDONLY | os.O_NOATIME)),
    "other-writes": as_other(several(lambda: open("file", "w"), lambda: open("new", "w"), lambda: os.unlink("file"), lambda: os.mkdir("x"),
                                     lambda: os.truncate("file", 0), lambda: os.chmod("file", 0o777), lambda: os.utime("file"),
                                     lambda: os.utime("file", (1, 1)), lambda: os.setxattr("file", "user.a", b""),
                                     lambda: os.setxattr("file", "trusted.a", b""), lambda: os.chown("file", OTHER, OTHER),
                                     lambda: os.access("file", os.W_OK), lambda: os.access("dir", os.X_OK))),
})


# Names and paths.

def deep():
    here = os.open(".", os.O_RDONLY)
    depth = 0
    for _ in range(40):
        os.mkdir("n" * 200)
        os.chdir("n" * 200)
        depth += 1
    open("bottom", "w").close()
    seen = several(os.getcwd, lambda: os.stat("bottom").st_size, lambda: os.rename("bottom", "moved"))()
    for _ in range(depth):
        for name in os.listdir("."):
            os.rmdir(name) if os.path.isdir(name) else os.unlink(name)
        os.chdir("..")
    os.fchdir(here)
    os.close(here)
    os.rmdir("n" * 200)
    return seen[1:]


LONG, TOO_LONG = "n" * 255, "n" * 256
cases("name", {
    "long": several(*[lambda make=make: make(LONG) for make in (os.mkdir, os.rmdir, os.mkfifo, os.unlink, lambda n: os.symlink("x", n),
                                                                os.readlink, os.unlink, lambda n: open(n, "x").close())]),
    "too-long": several(*[lambda make=make: make(TOO_LONG) for make in (
        os.mkdir, os.rmdir, os.mkfifo, os.unlink, lambda n: os.symlink("x", n), os.readlink, os.stat, os.lstat, open, lambda n: open(n, "w"),
        lambda n: os.link("file", n), os.listdir, lambda n: os.truncate(n, 0), lambda n: os.getxattr(n, "user.a"),
        lambda n: os.chmod(n, 0), lambda n: os.utime(n), lambda n: os.stat(n + "/x"))]),
    "path-too-long": several(lambda: os.stat("./" * 2047 + "f"), lambda: os.stat("./" * 2050), lambda: os.stat("full/../" * 511 + "file").st_size),
    "bytes": lambda: [open(os.fsdecode(bytes([n])), "x").close() for n in range(1, 256) if n not in b"/."],
    "of-whiteouts": several(*[lambda name=name: open(name, "x").close() for name in (".wh.file", ".wh..wh..opq", "#1", ".wh.", "...")]),
    "case": several(lambda: open("FILE", "x").close(), lambda: os.mkdir("Dir")),
    "deep": deep,
    "dots": several(lambda: os.stat("full/./../file").st_size, lambda: os.stat("missing/../file"), lambda: os.stat("file/../file")),
})
for length in [0, 1, 59, 60, 255, 4094, 4095, 4096]:
    case(f"symlink-length-{length}", lambda length=length: (
        os.symlink("t" * length, "new"), len(os.readlink("new")), os.lstat("new").st_size))
cases("symlink", {
    "loop": several(lambda: open("loop"), lambda: os.stat("loop"), lambda: os.chmod("loop", 0), lambda: os.readlink("loop"), lambda: os.listdir("loop")),
    "readlink": several(lambda: os.readlink("file"), lambda: os.readlink("dir"), lambda: os.readlink("missing")),
    "short-buffer": lambda: call("readlink", "link", ctypes.create_string_buffer(3), 2),
    "chain": several(lambda: [os.symlink(f"s{n}", f"s{n + 1}") for n in range(41)] and None, lambda: os.symlink("file", "s0"),
                     lambda: os.stat("s39").st_size, lambda: os.stat("s40")),
    "mode": several(lambda: call("fchmodat", AT_FDCWD, "link", 0o600, AT_SYMLINK_NOFOLLOW), lambda: oct(os.lstat("link").st_mode),
                    lambda: os.chown("link", 7, 8, follow_symlinks=False), lambda: os.stat("file").st_uid),
    "through": several(lambda: open("dangling", "w").close(), lambda: os.stat("nowhere").st_size, lambda: open("dirlink/new", "x").close(),
                       lambda: os.mkdir("dangling"), lambda: os.rmdir("dirlink")),
})
