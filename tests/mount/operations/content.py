"""Content: sizes, holes, space, copies, direct I/O, mappings."""

for size in [-1, 0, 1, 9999, 10000, 10001, 2**31, 2**43, 2**44, 2**50, MAX - 1, MAX]:
    case(f"truncate-{size}", lambda size=size: (os.truncate("file", size), os.stat("hard").st_size, os.truncate("file", 10)))
    case(f"ftruncate-{size}", with_open("file", os.O_RDWR, lambda d, size=size: (os.ftruncate(d, size), os.fstat(d).st_size, os.ftruncate(d, 10))))
    case(f"pwrite-at-{size}", several(with_open("file", os.O_RDWR, lambda d, size=size: os.pwrite(d, b"xy", size)), lambda: os.truncate("file", 10)))
    case(f"pread-at-{size}", with_open("file", os.O_RDWR, lambda d, size=size: os.pread(d, 10, size)))


def limited(work):
    """Runs an operation with a limit for the size of files."""
    def run():
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, before[1]))
        try:
            return work()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
    return run


cases("truncate", {
    "kinds": several(*[lambda path=path: os.truncate(path, 5) for path in ("dir", "fifo", "missing", "link", "dangling", "empty", "loop")]),
    "for-reading": with_open("file", os.O_RDONLY, lambda d: os.ftruncate(d, 0)),
    "fills-with-zeros": with_open("file", os.O_RDWR, lambda d: (os.ftruncate(d, 5), os.ftruncate(d, 9000), os.pread(d, 8, 0), os.pread(d, 8, 8995))),
    "beyond-limit": limited(several(lambda: os.truncate("file", 20001), lambda: os.truncate("file", 20000), lambda: open("file", "ab").write(b"x"))),
    "write-up-to-limit": limited(with_open("file", os.O_RDWR, lambda d: several(
        lambda: os.pwrite(d, b"x" * 100, 19950), lambda: os.pwrite(d, b"x", 20000), lambda: os.posix_fallocate(d, 0, 30000))())),
})
MODES = {"plain": 0, "keep": 1, "punch": 3, "punch-alone": 2, "zero": 0x10, "zero-keep": 0x11, "collapse": 8, "insert": 0x20,
         "collapse-keep": 9, "unshare": 0x40, "unknown": 0x800, "punch-zero": 0x13}
RANGES = [(0, PAGE), (PAGE, PAGE), (100, 50), (9000, 5000), (20000, PAGE), (0, 0), (-1, 10), (0, -1), (MAX, 1), (0, MAX), (2**50, 1)]
# Which comes first, the mode or the range, is for each file system to say.
UNKNOWN_MODES = {"unshare", "unknown", "punch-alone", "collapse-keep", "punch-zero"}
for mode, number in MODES.items():
    def table(number=number, ranges=RANGES[:8] if mode in UNKNOWN_MODES else RANGES):
        seen = []
        for offset, length in ranges:
            with opened("file", os.O_RDWR | os.O_TRUNC) as file:
                os.write(file, b"0123456789" * 1000)
                done = outcome(lambda: call("fallocate", file, number, offset, length))
                seen.append((offset, done, os.fstat(file).st_size, sum(os.pread(file, 30000, 0))))
        return seen
    case(f"fallocate-{mode}", table)
cases("fallocate", {
    "for-reading": with_open("file", os.O_RDONLY, lambda d: call("fallocate", d, 0, 0, 10)),
    "directory": with_open("dir", os.O_RDONLY, lambda d: call("fallocate", d, 0, 0, 10)),
    "fifo": with_open("fifo", os.O_RDWR, lambda d: call("fallocate", d, 0, 0, 10)),
    "appending": with_open("file", os.O_WRONLY | os.O_APPEND, lambda d: several(
        lambda: call("fallocate", d, 0, 0, 20000), lambda: call("fallocate", d, 3, 0, 100), lambda: os.fstat(d).st_size)()),
})


def sparse():
    with open("sparse", "wb") as file:
        file.truncate(1 << 20)
        os.pwrite(file.fileno(), b"data" * 1024, 256 * 1024)


def seeks():
    with opened("sparse", os.O_RDONLY) as file:
        return {(whence, offset): outcome(lambda: os.lseek(file, offset, whence))
                for whence in [0, 1, 2, 3, 4, 5, -1]
                for offset in [0, 1, 4096, 256 * 1024, 260 * 1024, 300 * 1024, 2**20 - 1, 2**20, 2**20 + 1, 2**43, -1, -4096, -MAX - 1]
                if whence != 1}


# The file is new: `docs/semantics.md` says that a layer has no holes.
case("seek-sparse", lambda: (sparse(), seeks()))
cases("seek", {
    "kinds": several(*[with_open(path, flags, lambda d, whence=whence: os.lseek(d, 5, whence)) for path, flags in (
        ("fifo", os.O_RDWR), ("empty", os.O_RDONLY)) for whence in (0, 1, 2, 3, 4)]),
    "behind-the-end": with_open("other", os.O_RDWR, lambda d: (os.lseek(d, 10, 2), os.write(d, b"x"), os.pread(d, 20, 0))),
    "negative-data": with_open("file", os.O_RDONLY, lambda d: several(lambda: os.lseek(d, -1, 3), lambda: os.lseek(d, -1, 4), lambda: os.lseek(d, 10000, 3),
                                                                      lambda: os.lseek(d, 10000, 4), lambda: os.lseek(d, 9999, 3), lambda: os.lseek(d, 5, 4))()),
})


def copy(source, target, length, at, to, flags=(os.O_RDONLY, os.O_RDWR)):
    def run():
        with opened(source, flags[0]) as old, opened(target, flags[1]) as new:
            start, end = ctypes.c_int64(at), ctypes.c_int64(to)
            done = outcome(lambda: call("copy_file_range", old, ctypes.byref(start), new, ctypes.byref(end), length, 0))
            return done, start.value, end.value
    return run


for number, arguments in enumerate([
    ("file", "other", 100, 0, 0), ("file", "other", 100, 5000, 9), ("file", "other", 10**6, 0, 0), ("file", "other", 0, 0, 0),
    ("file", "other", 100, 20000, 0), ("file", "other", 100, 9990, 100000), ("file", "file", 100, 0, 50), ("file", "file", 100, 0, 100),
    ("file", "hard", 100, 50, 0), ("file", "file", 100, 9950, 9900), ("file", "other", 100, -1, 0), ("file", "other", 100, 0, -1),
    ("file", "other", 100, MAX, 0), ("file", "other", 100, 0, MAX), ("empty", "other", 100, 0, 0),
    ("file", "other", 100, 0, 0, (os.O_WRONLY, os.O_RDWR)), ("file", "other", 100, 0, 0, (os.O_RDONLY, os.O_RDONLY)),
    ("file", "other", 100, 0, 0, (os.O_RDONLY, os.O_WRONLY | os.O_APPEND)), ("dir", "other", 100, 0, 0), ("file", "fifo", 100, 0, 0),
    ("fifo", "other", 100, 0, 0, (os.O_RDWR, os.O_RDWR)), ("file", "other", 100, 0, 0, (os.O_PATH, os.O_RDWR)),
]):
    case(f"copy-range-{number}", copy(*arguments))


def transfer_others():
    with opened("file", os.O_RDONLY) as source, opened("other", os.O_RDWR) as target:
        reading, writing = os.pipe()
        seen = several(lambda: os.sendfile(target, source, 10, 20), lambda: os.splice(source, writing, 50, offset_src=5), lambda: os.splice(reading, target, 50, offset_dst=100),
                       lambda: os.pread(target, 200, 0), lambda: os.writev(target, [b"a", b"b" * 5, b""]), lambda: os.preadv(target, [bytearray(3), bytearray(200)], 0))()
        os.close(reading), os.close(writing)
        return seen


case("copy-others", transfer_others)
cases("content", {
    "write-flags": with_open("file", os.O_RDWR, lambda d: several(
        lambda: os.pwritev(d, [b"abc"], 5, os.RWF_DSYNC), lambda: os.pwritev(d, [b"def"], 5, os.RWF_SYNC), lambda: os.pwritev(d, [b"ghi"], 5, 0x10),
        lambda: os.pread(d, 10, 0), lambda: os.pread(d, 10, 9998), lambda: os.preadv(d, [bytearray(3)], 0, os.RWF_HIPRI))()),
    "advice": with_open("file", os.O_RDWR, lambda d: several(
        *[lambda advice=advice: os.posix_fadvise(d, 0, 0, advice) for advice in range(7)], lambda: call("readahead", d, 0, 5000), lambda: os.posix_fadvise(d, 0, -1, 0),
        lambda: call("sync_file_range", d, 0, 5000, 7), lambda: call("sync_file_range", d, -1, 5000, 7), lambda: call("sync_file_range", d, 0, 5000, 64))()),
    "pipe-positions": with_open("fifo", os.O_RDWR, lambda d: several(lambda: os.write(d, b"abc"), lambda: os.read(d, 2), lambda: os.pread(d, 1, 0), lambda: os.fsync(d))()),
    "many-buffers": with_open("file", os.O_RDWR, lambda d: (os.pwritev(d, [b"%03d" % n for n in range(1000)], 100), os.pread(d, 9, 97), os.preadv(d, [bytearray(7)] * 1000, 50))),
    "unknown-control": with_open("file", os.O_RDWR, lambda d: several(lambda: fcntl.ioctl(d, 0x5401, bytes(60)), lambda: fcntl.ioctl(d, 0x40049409, d), lambda: fcntl.ioctl(d, 0xABCD, b"x"))()),
    "available": with_open("file", os.O_RDWR, lambda d: (os.lseek(d, 100, 0), struct.unpack("i", fcntl.ioctl(d, 0x541B, bytes(4))))),
    "small-entries": with_open("full", os.O_RDONLY, lambda d: call("syscall", {"x86_64": 217}.get(os.uname().machine, 61), d, ctypes.create_string_buffer(10), 10)),
    "large": with_open("file", os.O_RDWR, lambda d: (os.pwrite(d, os.urandom(1) * (5 << 20), 3), os.fstat(d).st_size, len(set(os.pread(d, 5 << 20, 3))), os.ftruncate(d, 3))),
})


def aligned(flags=os.O_RDWR):
    """Direct I/O with offsets and lengths of all kinds."""
    seen = []
    with mmap.mmap(-1, 4 * PAGE) as buffer, opened("file", flags | os.O_DIRECT) as file:
        os.ftruncate(file, 3 * PAGE + 100)
        for offset, length in [(0, PAGE), (PAGE, PAGE), (0, 100), (100, PAGE), (PAGE, 511), (2 * PAGE, 2 * PAGE), (4 * PAGE, PAGE), (4 * PAGE, 10),
                               (3 * PAGE, PAGE), (5 * PAGE + 1, PAGE), (1, 1)]:
            view = memoryview(buffer)[:length]
            seen.append((offset, length, outcome(lambda: os.preadv(file, [view], offset)), outcome(lambda: os.pwritev(file, [view], offset))))
            view.release()
        return seen, os.fstat(file).st_size


case("direct-alignment", aligned)


def mapped():
    seen = []
    with opened("file", os.O_RDWR) as file:
        with mmap.mmap(file, 10000) as shared, mmap.mmap(file, 10000, mmap.MAP_PRIVATE) as private:
            private[0:3] = b"ppp"
            shared[5:8] = b"sss"
            seen.append(os.pread(file, 10, 0))
            os.pwrite(file, b"www", 4096)
            seen += [shared[4096:4100], private[4096:4100], private[0:9]]
            with opened("hard", os.O_RDONLY) as again, mmap.mmap(again, 10000, prot=mmap.PROT_READ) as other:
                shared[9000:9003] = b"yyy"
                seen += [other[9000:9004], other[4096:4100]]
            os.unlink("file")
            shared[1:2] = b"!"
            shared.flush()
            os.ftruncate(file, 20000)
        with mmap.mmap(file, 20000) as longer:
            longer[15000:15003] = b"end"
            seen.append(os.pread(file, 5, 14999))
    return seen, open("hard", "rb").read(9)


cases("map", {
    "coherent": mapped,
    "for-reading": with_open("file", os.O_RDONLY, lambda d: mmap.mmap(d, 10)),
    "private-for-reading": with_open("file", os.O_RDONLY, lambda d: mmap.mmap(d, 10, mmap.MAP_PRIVATE)[0:3]),
    "for-writing-only": with_open("file", os.O_WRONLY, lambda d: mmap.mmap(d, 10)),
    "directory": with_open("dir", os.O_RDONLY, lambda d: call("mmap", 0, 10, 1, 1, d, 0)),
    "direct-and-mapped": lambda: direct_and_mapped(),
})


def direct_and_mapped():
    with opened("file", os.O_RDWR) as file, opened("file", os.O_RDWR | os.O_DIRECT) as direct, mmap.mmap(-1, PAGE) as page:
        with mmap.mmap(file, PAGE) as shared:
            shared[0:4] = b"map1"
            os.preadv(direct, [page], 0)
            seen = [page[0:4]]
            page[0:4] = b"dir2"
            os.pwritev(direct, [page], 0)
            seen += [shared[0:4], os.pread(file, 4, 0)]
        return seen
