//! The digest of an image, by the Python program of `docs/image-digest.md`.

use std::path::Path;

use crate::tool;

/// The page with the program and the test vectors.
pub const PAGE: &str = include_str!("../../../docs/image-digest.md");

/// Returns the digests of the files `paths`, in their order. The program reads holes too.
pub fn in_python(paths: &[impl AsRef<Path>]) -> Vec<String> {
    let after = PAGE.split("```python\n").nth(1).expect("the page has a program");
    let program = after.split("```").next().expect("the program has an end");
    let mut arguments = vec!["-c".into(), program.into()];
    arguments.extend(paths.iter().map(|path| path.as_ref().as_os_str().to_owned()));
    tool("python3", &arguments).lines().map(str::to_owned).collect()
}

/// Returns the digest of the file `path`.
pub fn of(path: &Path) -> String {
    in_python(&[path]).remove(0)
}
