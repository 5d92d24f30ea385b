//! A directory among `additionalFiles`: an entry for each file and link below it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::{AdditionalFile, FileSource};

/// The most files that are taken from one directory; a larger one was hardly meant.
const FILES_MAX: usize = 20_000;

/// Returns an entry like `like` for each file and symbolic link below `directory`, in the order of their paths. A link is
/// taken as it is; directories without files are left out, as git does.
///
/// # Errors
/// In words, if something below it cannot be read or is neither file, link nor directory.
pub(super) fn entries(directory: &Path, like: &AdditionalFile) -> Result<Vec<AdditionalFile>, String> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(current) = open.pop() {
        let failed = |error: io::Error| format!("{}: {error}", current.display());
        for entry in fs::read_dir(&current).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            if kind.is_dir() {
                open.push(path);
                continue;
            }
            let source = match kind.is_symlink() {
                true => FileSource::Link(fs::read_link(&path).map_err(failed)?),
                false if kind.is_file() => FileSource::Host(path.clone()),
                false => return Err(format!("{} is neither a file, a link nor a directory", path.display())),
            };
            found.push(AdditionalFile {
                source,
                destination: destination(directory, &path, like)?,
                ..like.clone()
            });
            if found.len() > FILES_MAX {
                return Err(format!("it has more than {FILES_MAX} files"));
            }
        }
    }
    found.sort_by(|a, b| a.destination.cmp(&b.destination));
    Ok(found)
}

/// Returns the place in the image of `path`, which lies below `directory`.
fn destination(directory: &Path, path: &Path, like: &AdditionalFile) -> Result<String, String> {
    let below: PathBuf = path.strip_prefix(directory).unwrap_or(path).to_owned();
    let text = below.to_str().filter(|text| !text.contains(char::is_control));
    let text = text.ok_or_else(|| format!("the name of {} is not plain text", path.display()))?;
    Ok(format!("{}/{text}", like.destination.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_links_are_taken_in_order_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("etc/empty")).unwrap();
        fs::write(at("etc/b"), "").unwrap();
        fs::write(at("a"), "").unwrap();
        std::os::unix::fs::symlink("/lib/unit", at("etc/a")).unwrap();
        let like = AdditionalFile {
            source: FileSource::Host(directory.path().to_owned()),
            destination: "/opt/x".to_owned(),
            owner: Some("web".to_owned()),
            mode: None,
        };
        let found = entries(directory.path(), &like).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|file| (file.destination.as_str(), file.source.clone()))
            .collect();
        assert_eq!(
            shown,
            [
                ("/opt/x/a", FileSource::Host(at("a"))),
                ("/opt/x/etc/a", FileSource::Link("/lib/unit".into())),
                ("/opt/x/etc/b", FileSource::Host(at("etc/b"))),
            ]
        );
        assert!(found.iter().all(|file| file.owner == like.owner));
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(
            entries(directory.path(), &like)
                .unwrap_err()
                .contains("fifo is neither")
        );
    }
}
