"""Writes that bypass the kernel's cache, beside a process that reads through it all the time.

aio:     direct writes that are submitted asynchronously (io_submit(2)).
append:  appending through a file that was created for writing only.

Prints what was read wrongly, or "fresh".
"""
import ctypes
import mmap
import os
import struct
import sys
import time

PAGE = 4096
SECONDS = 3
IO_SETUP, IO_GETEVENTS, IO_SUBMIT = {"x86_64": (206, 208, 209), "aarch64": (0, 4, 2)}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)


def system(*arguments):
    result = libc.syscall(*arguments)
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result


class Queue:
    """A queue of asynchronous writes with one entry."""

    def __init__(self):
        self.context = ctypes.c_ulong()
        system(IO_SETUP, 1, ctypes.byref(self.context))

    def write(self, descriptor, buffer, offset):
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        # struct iocb of linux/aio_abi.h: IOCB_CMD_PWRITE is 1.
        block = ctypes.create_string_buffer(struct.pack("<QIIHhIQQqQII", 0, 0, 0, 1, 0, descriptor, address, len(buffer), offset, 0, 0, 0))
        pointer = ctypes.c_void_p(ctypes.addressof(block))
        assert system(IO_SUBMIT, self.context, 1, ctypes.byref(pointer)) == 1
        event = ctypes.create_string_buffer(32)
        assert system(IO_GETEVENTS, self.context, 1, 1, event, None) == 1
        return struct.unpack("<QQqq", event.raw)[2]


def beside(read, write):
    """Calls `read` in another process again and again, while `write` runs; returns what `write` returns."""
    reader = os.fork()
    if reader == 0:
        while True:
            read()
    try:
        return write()
    finally:
        os.kill(reader, 9)
        os.waitpid(reader, 0)


def aio():
    with open("aio", "wb") as file:
        file.write(bytes(PAGE))
    reading = os.open("aio", os.O_RDONLY)

    def read():
        os.pread(reading, PAGE, 0)
        os.posix_fadvise(reading, 0, PAGE, os.POSIX_FADV_DONTNEED)

    def write():
        queue, buffer, end = Queue(), mmap.mmap(-1, PAGE), time.monotonic() + SECONDS
        writing, looking = os.open("aio", os.O_WRONLY | os.O_DIRECT), os.open("aio", os.O_RDONLY)
        number = 0
        while time.monotonic() < end:
            number += 1
            buffer[:8] = struct.pack("<Q", number)
            written = queue.write(writing, buffer, 0)
            assert written == PAGE, written
            seen, = struct.unpack("<Q", os.pread(looking, 8, 0))
            if seen != number:
                return f"stale: {seen} instead of {number}"
        return "fresh" if number > 100 else f"only {number} writes"

    return beside(read, write)


def append():
    writing = os.open("append", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    reading = os.open("append", os.O_RDONLY)

    def read():
        os.pread(reading, 1 << 20, max(0, os.fstat(reading).st_size - 10))

    def write():
        looking, end, size = os.open("append", os.O_RDONLY), time.monotonic() + SECONDS, 0
        while time.monotonic() < end and size < 1 << 20:
            size += os.write(writing, b"x" * 77)
            seen = os.pread(looking, 77, size - 77)
            if seen != b"x" * 77:
                return f"stale: {seen} at {size - 77}"
        return "fresh" if size > 7700 else f"only {size} bytes"

    return beside(read, write)


print({"aio": aio, "append": append}[sys.argv[1]]())
