"""Renaming, links, removal."""

case("nothing", lambda: None)


# Renaming.

def rename(old, new, flags=0):
    return call("renameat2", AT_FDCWD, old, AT_FDCWD, new, flags)


NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
KINDS = ["file", "hard", "dir", "full", "link", "fifo", "missing"]
for flags, old, new in itertools.product([0, 1, 2, 3, 4, 5, 6, 8], KINDS, KINDS):
    case(f"rename-{flags}-{old}-{new}", lambda flags=flags, old=old, new=new: rename(old, new, flags))
for flags in [0, NOREPLACE, EXCHANGE]:
    for number, (old, new) in enumerate([
        ("full", "full/below"), ("full", "full/inside"), ("full/inside", "full"), (".", "x"), ("full/.", "x"),
        ("full/..", "x"), ("file/", "x"), ("file", "x/"), ("dir/", "x/"), ("dir", "x/"), ("file", "dir/"), ("x", "y/"),
        ("file/x", "y"), ("dangling", "dir/moved"), ("full/inside", "dir/moved"), ("full", "dir/moved"), ("link", "link"),
        ("n" * 256, "x"), ("file", "n" * 256), ("file", "n" * 255), ("", "x"), ("file", ""), ("loop/x", "y"),
        ("dirlink/inside", "moved"), ("dirlink", "moved"), ("dirlink/", "moved"), ("file", "/proc/moved"),
    ]):
        case(f"rename-path-{flags}-{number}", lambda flags=flags, old=old, new=new: rename(old, new, flags))


def renamed_open():
    with opened("full", os.O_RDONLY) as directory, opened("file", os.O_RDWR) as file:
        os.rename("full", "dir/moved")
        os.rename("file", "full")
        before = os.getcwd()
        os.chdir("dir/moved")
        back = os.path.relpath(os.getcwd(), before)
        os.chdir("../..")
        os.write(file, b"changed")
        made = os.open("made", os.O_CREAT | os.O_WRONLY, dir_fd=directory)
        os.close(made)
        return back, sorted(os.listdir(directory)), os.stat("..", dir_fd=directory).st_ino == os.stat("dir").st_ino


case("rename-open", renamed_open)
case("rename-over-open", with_open("other", os.O_RDWR, lambda d: (
    os.rename("file", "other"), os.fstat(d).st_nlink, os.write(d, b"new"), os.pread(d, 9, 0))))
case("rename-chain", several(
    lambda: rename("full", "a"), lambda: rename("a", "dir/b"), lambda: rename("dir", "full"),
    lambda: rename("full/b/inside", "inside"), lambda: rename("full", "dir", EXCHANGE), lambda: os.mkdir("dir"),
    lambda: rename("full", "dir", EXCHANGE), lambda: sorted(os.listdir("dir")), lambda: os.rmdir("full")))


# Links and removal.

def linkat(old, new, flags=0, directory=AT_FDCWD):
    return call("linkat", directory, old, AT_FDCWD, new, flags)


for old, new in itertools.product(KINDS + ["dangling", "loop", "dirlink"], ["new", "other", "dir", "dir/", "new/"]):
    for flags in [0, AT_SYMLINK_FOLLOW]:
        case(f"link-{flags}-{old}-{new.replace('/', '_')}", lambda old=old, new=new, flags=flags: linkat(old, new, flags))


def link_deleted():
    with opened("other", os.O_RDWR) as file:
        os.unlink("other")
        return several(lambda: linkat("", "again", AT_EMPTY_PATH, file),
                       lambda: linkat(f"/proc/self/fd/{file}", "again", AT_SYMLINK_FOLLOW))()


cases("link", {
    "deleted": link_deleted,
    "of-descriptor": with_open("other", os.O_RDONLY, lambda d: linkat("", "again", AT_EMPTY_PATH, d)),
    "of-path-descriptor": with_open("link", os.O_PATH | os.O_NOFOLLOW, lambda d: linkat("", "again", AT_EMPTY_PATH, d)),
    "by-proc": with_open("other", os.O_RDONLY, lambda d: linkat(f"/proc/self/fd/{d}", "again", AT_SYMLINK_FOLLOW)),
    "bad-flags": lambda: linkat("file", "new", 0x8000),
    "cross": lambda: linkat("file", "/proc/new"),
    "shared": several(lambda: os.truncate("hard", 5), lambda: open("file").read(), lambda: os.unlink("file"),
                      lambda: os.stat("hard").st_nlink, lambda: os.link("hard", "file"), lambda: os.chmod("file", 0o600)),
    "many": lambda: [os.link("file", f"name{n}") for n in range(100)] and os.stat("hard").st_nlink,
})
for path in ["file", "dir", "full", "link", "dirlink", "fifo", "missing", ".", "..", "dir/.", "full/..", "file/", "dir/",
             "dirlink/", "link/", "n" * 256, ""]:
    name = path.replace("/", "_")[:20]
    case(f"unlink-{name}", lambda path=path: call("unlinkat", AT_FDCWD, path, 0))
    case(f"rmdir-{name}", lambda path=path: call("unlinkat", AT_FDCWD, path, AT_REMOVEDIR))
    case(f"unlink-flags-{name}", lambda path=path: call("unlinkat", AT_FDCWD, path, 0x10))
    for kind, make in {"mkdir": os.mkdir, "mkfifo": os.mkfifo, "symlink": lambda path: os.symlink("x", path)}.items():
        case(f"{kind}-{name}", lambda path=path, make=make: make(path))


def deleted_file():
    with opened("other", os.O_RDWR) as file:
        os.unlink("other")
        return several(
            lambda: os.fstat(file).st_nlink, lambda: os.write(file, b"new"), lambda: os.pread(file, 9, 0),
            lambda: os.ftruncate(file, 2), lambda: os.fchmod(file, 0o600), lambda: os.fchown(file, 7, 8),
            lambda: os.setxattr(file, "user.a", b"1"), lambda: os.listxattr(file), lambda: os.fsync(file),
            lambda: os.utime(file, (1, 2)), lambda: os.fstat(file).st_mtime, lambda: oct(os.fstat(file).st_mode),
            lambda: os.close(os.open(f"/proc/self/fd/{file}", os.O_RDWR | os.O_TRUNC)), lambda: os.fstat(file).st_size,
            lambda: open("other", "x").close(), lambda: os.fstat(file).st_ino == os.stat("other").st_ino)()


def deleted_directory():
    with opened("dir", os.O_RDONLY) as directory:
        os.rmdir("dir")
        os.mkdir("dir")
        return several(
            lambda: os.fstat(directory).st_nlink, lambda: os.listdir(directory),
            lambda: os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=directory), lambda: os.mkdir("x", dir_fd=directory),
            lambda: os.symlink("x", "x", dir_fd=directory), lambda: os.stat("x", dir_fd=directory),
            lambda: os.link("file", "x", dst_dir_fd=directory), lambda: os.rename("file", "x", dst_dir_fd=directory),
            lambda: os.fchmod(directory, 0o700), lambda: os.fsync(directory), lambda: os.listdir("dir"))()


def deleted_cwd():
    here = os.getcwd()
    os.chdir("dir")
    os.rmdir("../dir")
    seen = several(os.getcwd, lambda: os.listdir("."), lambda: open("x", "w"), lambda: os.stat(".").st_nlink,
                   lambda: os.stat("..").st_ino == os.stat(here).st_ino)()
    os.chdir(here)
    return seen


cases("deleted", {"file": deleted_file, "directory": deleted_directory, "cwd": deleted_cwd})
