//! libselinux decides which label a file gets.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// selabel_lookup_raw(3), for lines of mode and path.
const PROGRAM: &str = "
import ctypes, os, sys
lib = ctypes.CDLL('libselinux.so.1')
class Option(ctypes.Structure):
    _fields_ = [('type', ctypes.c_int), ('value', ctypes.c_char_p)]
lib.selabel_open.restype = ctypes.c_void_p
lib.selabel_lookup_raw.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_char_p, ctypes.c_int]
options = (Option * 1)(Option(3, os.fsencode(sys.argv[1])))
handle = lib.selabel_open(0, options, 1)
for line in sys.stdin.buffer:
    mode, path = line.rstrip(b'\\n').split(b' ', 1)
    found = ctypes.c_char_p()
    failed = lib.selabel_lookup_raw(handle, ctypes.byref(found), path, int(mode))
    print('' if failed else found.value.decode())
";

/// The label of each file, given by mode and path, in a policy of the file contexts at `contexts`; empty for none.
pub fn labels(contexts: &Path, files: &[(u32, &str)]) -> Vec<String> {
    let mut child = Command::new("python3")
        .args(["-c", PROGRAM])
        .arg(contexts)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs python3");
    let asked: String = files.iter().map(|(mode, path)| format!("{mode} {path}\n")).collect();
    let mut input = child.stdin.take().unwrap();
    // Beside the output, which fills its pipe.
    let writer = std::thread::spawn(move || input.write_all(asked.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(
        output.status.success(),
        "this test needs libselinux (package libselinux1)"
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}
