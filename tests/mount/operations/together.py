"""Directories, locks, sockets, several processes at once."""

def listed():
    for number in range(500):
        open(f"dir/{number}", "x").close()
    with os.scandir("dir") as entries:
        seen = []
        for entry in entries:
            seen.append(entry.name)
            if int(entry.name) % 3 == 0:
                os.unlink(entry.path)
            elif int(entry.name) % 3 == 1:
                os.rename(entry.path, "dir/TEMPORARY")
                os.rename("dir/TEMPORARY", entry.path)
            if len(seen) > 5000:
                break
    return len(seen), len(set(seen)), len(os.listdir("dir"))


def counted():
    links = lambda: [os.stat(path).st_nlink for path in ("dir", "full", ".")]
    seen = [links()]
    for work in [lambda: os.mkdir("dir/a"), lambda: os.mkdir("dir/b"), lambda: os.rename("dir/a", "full/a"), lambda: os.rename("dir/b", "full/b"), lambda: os.rmdir("full/a"),
                 lambda: rename("full/b", "dir", EXCHANGE), lambda: os.mkdir("full/b/c"), lambda: os.rename("full/b/c", "full/b.c"), lambda: os.mkdir("full/b/c"), lambda: os.rename("full/b.c", "full/b/c")]:
        seen.append((outcome(work), links()))
    return seen


def remade():
    os.unlink("full/inside"), os.rmdir("full"), os.mkdir("full")
    seen = [os.listdir("full")]
    os.rmdir("full"), open("full", "x").close(), os.unlink("full"), os.symlink("dir", "full"), os.unlink("full"), os.mkdir("full")
    open("full/inside", "x").close()
    os.unlink("file"), os.mkdir("file"), os.rmdir("file"), os.rename("dir", "file"), os.mkdir("dir")
    return seen, os.listdir("full"), sorted(os.listdir("."))


def rewound():
    with opened("full", os.O_RDONLY) as directory:
        first = os.listdir(directory)
        open("full/second", "x").close()
        os.unlink("full/inside")
        return first, os.listdir(directory)


cases("directory", {
    "listed": listed,
    "counted": counted,
    "remade": remade,
    "rewound": rewound,
    "dots": lambda: (os.stat("dir/.").st_ino == os.stat("dir").st_ino, os.stat("dir/..").st_ino == os.stat(".").st_ino),
    "numbers": lambda: all(entry.inode() == entry.stat(follow_symlinks=False).st_ino for entry in os.scandir(".")),
    "kinds": lambda: sorted((entry.name, entry.is_dir(follow_symlinks=False), entry.is_symlink()) for entry in os.scandir(".")),
    "read": with_open("dir", os.O_RDONLY, lambda d: several(lambda: os.read(d, 1), lambda: os.pread(d, 1, 0), lambda: os.ftruncate(d, 0), lambda: os.fsync(d), lambda: call("fdatasync", d))()),
    "space": lambda: (os.statvfs("dir").f_namemax, os.statvfs("dir").f_blocks > 0, os.statvfs("dir").f_bsize, os.statvfs("file").f_files > 0),
    "size": lambda: os.stat("dir").st_size > 0,
    "sync": several(with_open("file", os.O_RDWR, os.fsync), with_open("file", os.O_RDONLY, os.fsync), with_open("fifo", os.O_RDWR, os.fsync), with_open("dir", os.O_RDONLY, lambda d: call("syncfs", d))),
    "handles": lambda: name_to_handle(),
    "birth": lambda: birth_time("file"),
    "extents": with_open("file", os.O_RDONLY, lambda d: fcntl.ioctl(d, 0xC020660B, bytearray(struct.pack("QQIIII", 0, MAX, 0, 0, 0, 0)))),
})


def name_to_handle():
    handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    call("name_to_handle_at", AT_FDCWD, "file", handle, ctypes.byref(mount), 0)
    return "supported"


def birth_time(path):
    STATX_BTIME = 0x800
    buffer = ctypes.create_string_buffer(256)
    call("statx", AT_FDCWD, path, 0, STATX_BTIME, buffer)
    return "known" if struct.unpack_from("<I", buffer)[0] & STATX_BTIME else "not known"


# Locks and sockets.

def locks():
    seen = []
    with opened("file", os.O_RDWR) as first, opened("hard", os.O_RDWR) as second:
        lock = lambda d, kind: outcome(lambda: fcntl.flock(d, kind | fcntl.LOCK_NB))
        seen += [lock(first, fcntl.LOCK_EX), lock(second, fcntl.LOCK_SH), lock(first, fcntl.LOCK_SH), lock(second, fcntl.LOCK_SH), lock(second, fcntl.LOCK_EX), lock(first, fcntl.LOCK_UN), lock(second, fcntl.LOCK_EX)]
        region = lambda d, command, kind, start, length: outcome(lambda: struct.unpack("hhqqi4x", fcntl.fcntl(d, command, struct.pack("hhqqi4x", kind, 0, start, length, 0)))[0])
        OFD_GET, OFD_SET, GET, SET = 36, 37, fcntl.F_GETLK, fcntl.F_SETLK
        seen += [region(first, OFD_SET, fcntl.F_WRLCK, 0, 10), region(second, OFD_SET, fcntl.F_RDLCK, 5, 10), region(second, OFD_SET, fcntl.F_RDLCK, 10, 10), region(second, OFD_GET, fcntl.F_WRLCK, 0, 5),
                 region(first, SET, fcntl.F_WRLCK, 100, 10), region(first, SET, 7, 0, 1), region(first, OFD_SET, fcntl.F_UNLCK, 0, 0), region(second, OFD_SET, fcntl.F_WRLCK, 0, 20)]
        seen.append(as_other(lambda: (region(first, GET, fcntl.F_WRLCK, 100, 1), region(first, SET, fcntl.F_WRLCK, 105, 1), region(first, SET, fcntl.F_WRLCK, 110, 1)))())
    with opened("file", os.O_RDONLY) as reading:
        seen += [region(reading, OFD_SET, fcntl.F_WRLCK, 0, 1), region(reading, OFD_SET, fcntl.F_RDLCK, 0, 1)]
        seen.append(outcome(lambda: fcntl.fcntl(reading, fcntl.F_SETLEASE, fcntl.F_RDLCK)))
    return seen


def sockets():
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as again, socket.socket(socket.AF_UNIX) as client:
        return several(lambda: listener.bind("socket"), lambda: again.bind("socket"), lambda: again.bind("file"), lambda: client.connect("socket"), lambda: listener.listen(), lambda: client.connect("file"),
                       lambda: os.rename("socket", "moved"), lambda: client.connect("moved"), lambda: open("moved"), lambda: os.unlink("moved"))()


cases("lock", {"all": locks})
cases("socket", {"all": sockets})


# Several processes at once.

def crowd(work, count=6):
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            try:
                work(number)
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]


def append_all(number):
    with opened("file", os.O_WRONLY | os.O_APPEND) as file:
        for _ in range(50):
            os.write(file, b"%d" % number * 20)


def exclusive_all(number):
    for attempt in range(50):
        try:
            os.close(os.open(f"dir/{attempt}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.link(f"dir/{attempt}", f"full/{attempt}-{number}")
        except FileExistsError:
            pass


cases("crowd", {
    "append": lambda: (crowd(append_all), os.stat("file").st_size, sorted({open("file").read()[10000:].count(str(n) * 20) >= 50 for n in range(6)})),
    "chmod-and-write": lambda: (crowd(lambda n: [os.chmod("file", 0o600 + n % 2) if n % 2 else open("file", "r+b").write(b"X") for _ in range(20)]), open("hard", "rb").read(3)),
    "exclusive": lambda: (crowd(exclusive_all), len(os.listdir("dir")), len(os.listdir("full")), shutil.rmtree("dir"), shutil.rmtree("full")),
    "rename-onto": lambda: (crowd(lambda n: [(open(f"t{n}", "x").close(), os.rename(f"t{n}", "other")) for _ in range(30)]), os.stat("other").st_size),
    "mkdir-and-rmdir": lambda: crowd(lambda n: [(outcome(lambda: os.mkdir("dir/x")), outcome(lambda: os.rmdir("dir/x"))) for _ in range(50)]) and outcome(lambda: os.rmdir("dir/x")) in (None, "ENOENT"),
})
