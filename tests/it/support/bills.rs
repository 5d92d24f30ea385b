//! Libraries that we did not write judge bills of materials: SPDX's own tools and CycloneDX's, with its official schema.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oic::durable::FileLock;

use super::debian;

/// The libraries, by the names of PyPI.
const LIBRARIES: [&str; 2] = ["spdx-tools==0.8.*", "cyclonedx-python-lib[json-validation]==11.*"];

/// Parses and validates a document of SPDX.
const SPDX: &str = "\
import sys
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
document = parse_file(sys.argv[1])
found = validate_full_spdx_document(document, 'SPDX-2.3')
for message in found[:20]:
    print(message.validation_message, message.context)
sys.exit(bool(found))
";

/// Validates a document of CycloneDX with the official schema.
const CYCLONEDX: &str = "\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
if found:
    print(found)
sys.exit(bool(found))
";

/// Returns a Python with the libraries, which the first run fetches.
fn python() -> PathBuf {
    let directory = debian::directory().join("bills");
    let _lock = FileLock::exclusive(directory.with_extension("lock")).unwrap();
    let done = directory.join("done");
    if !done.exists() {
        debian::run(
            Command::new("python3").args(["-m", "venv"]).arg(&directory),
            "python3-venv",
        );
        let pip = directory.join("bin/pip");
        debian::run(
            Command::new(pip).args(["install", "-q"]).args(LIBRARIES),
            "python3-venv",
        );
        fs::write(done, "").unwrap();
    }
    directory.join("bin/python3")
}

/// Asserts that the document at `path` is valid SPDX 2.3.
pub fn assert_spdx(path: &Path) {
    debian::run(Command::new(python()).args(["-c", SPDX]).arg(path), "python3-venv");
}

/// Asserts that the document at `path` is valid CycloneDX 1.6.
pub fn assert_cyclonedx(path: &Path) {
    debian::run(Command::new(python()).args(["-c", CYCLONEDX]).arg(path), "python3-venv");
}
