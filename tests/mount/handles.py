"""Whether handles of files (name_to_handle_at(2)) are refused, or lead back to the file after the kernel forgot it."""
import ctypes
import errno
import os
import struct

AT_FDCWD, BYTES = -100, 128
libc = ctypes.CDLL(None, use_errno=True)

for path in ["file", "directory", "directory/inside", "link"]:
    handle = ctypes.create_string_buffer(struct.pack("<Ii", BYTES, 0) + bytes(BYTES))
    if libc.name_to_handle_at(AT_FDCWD, os.fsencode(path), handle, ctypes.byref(ctypes.c_int()), 0) < 0:
        print(path, errno.errorcode[ctypes.get_errno()])
        continue
    with open("/proc/sys/vm/drop_caches", "w") as caches:
        caches.write("2")
    here = os.open(".", os.O_RDONLY)
    opened = libc.open_by_handle_at(here, handle, os.O_PATH | os.O_NOFOLLOW)
    found = errno.errorcode[ctypes.get_errno()] if opened < 0 else os.fstat(opened).st_ino == os.lstat(path).st_ino
    print(path, "leads back" if found is True else f"is lost: {found}")
