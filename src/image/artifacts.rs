//! What is delivered besides or instead of the raw image: other formats through
//! `qemu-img convert`, and compressed files.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::chunked;
use super::raw::ImageError;
use super::tool::{self, ToolError};
use crate::cancel::Cancel;
use crate::durable::{self, AtomicFile, PathError};
use crate::progress::{Progress, Unit};
use crate::template::model::{Artifact, Compression};

/// A file that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
}

/// The name of an artifact of an image called `stem` (`{image}-{version}`):
/// `.{format}`, then `.gz`, `.xz` or `.zstd`.
pub fn file_name(stem: &str, artifact: &Artifact) -> String {
    let suffix = match artifact.compression {
        None => "",
        Some(Compression::Gzip) => ".gz",
        Some(Compression::Xz) => ".xz",
        Some(Compression::Zstd) => ".zstd",
        Some(Compression::Bzip2) => ".bz2",
    };
    format!("{stem}.{}{suffix}", artifact.format)
}

/// Whether the plain raw image is one of the artifacts: it is if it is asked
/// for, and if nothing is. Otherwise it is only a step on the way.
pub fn keeps_raw(artifacts: &[Artifact]) -> bool {
    artifacts.is_empty() || artifacts.iter().any(|a| a.format == "raw" && a.compression.is_none())
}

/// Checks, before any work starts, that all of `artifacts` can be made here.
///
/// # Errors
/// [`ToolError::Missing`] if qemu-img is needed and not there.
pub fn check_tools(artifacts: &[Artifact]) -> Result<(), ToolError> {
    match artifacts.iter().position(|artifact| artifact.format != "raw") {
        Some(index) => qemu_img(&format!("disk.artifacts[{index}].type")).map(drop),
        None => Ok(()),
    }
}

fn qemu_img(purpose: &str) -> Result<PathBuf, ToolError> {
    tool::find("qemu-img", "qemu-utils", purpose)
}

/// Makes all of `artifacts` from the image `raw`, beside it, with `threads`
/// threads. The plain raw image itself is left alone.
///
/// # Errors
/// [`ImageError`]; artifacts made before it stay, each one complete.
pub fn make(
    raw: &Path,
    stem: &str,
    artifacts: &[Artifact],
    threads: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<Made>, ImageError> {
    let directory = raw.parent().unwrap_or(Path::new("/"));
    let mut made = Vec::new();
    for artifact in artifacts {
        cancel.check()?;
        let target = directory.join(file_name(stem, artifact));
        let size_bytes = match (artifact.format.as_str(), artifact.compression) {
            ("raw", None) => continue,
            ("raw", Some(method)) => compress(raw, &target, method, threads, progress, cancel)?,
            (format, None) => {
                let mut converted = convert(raw, &target, format, progress, cancel)?;
                durable::write_back(converted.file(), cancel)?;
                let file = converted.commit()?;
                file.metadata().map_err(PathError::on("read", &target))?.len()
            }
            (format, Some(method)) => {
                let converted = convert(raw, &target, format, progress, cancel)?;
                compress(converted.temporary_path(), &target, method, threads, progress, cancel)?
            }
        };
        made.push(Made {
            path: target,
            size_bytes,
        });
    }
    Ok(made)
}

/// Compresses `source` to `target`; gives the size of the result in bytes.
///
/// # Errors
/// [`ImageError`]; `target` is then as it was before.
pub fn compress(
    source: &Path,
    target: &Path,
    method: Compression,
    threads: usize,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<u64, ImageError> {
    let input = File::open(source).map_err(PathError::on("open", source))?;
    let size_bytes = input.metadata().map_err(PathError::on("read", source))?.len();
    let mut output = AtomicFile::create(target)?;
    let task = progress.start("Compress image", Unit::Bytes, Some(size_bytes));
    let advance = |count| progress.advance(task, count);
    let result = chunked::compress(&input, size_bytes, method, threads, output.file(), &advance, cancel);
    progress.finish(task);
    cancel.check()?;
    result.map_err(PathError::on("compress to", target))?;
    durable::write_back(output.file(), cancel)?;
    let file = output.commit()?;
    Ok(file.metadata().map_err(PathError::on("read", target))?.len())
}

/// Converts `raw` to `format` (a template's word) with qemu-img; not yet under its name.
fn convert(
    raw: &Path,
    target: &Path,
    format: &str,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<AtomicFile, ImageError> {
    let program = qemu_img("disk.artifacts")?;
    let output = AtomicFile::create(target)?;
    // qemu-img(1): `vpc` is its word for VHD.
    let (format, options) = match format {
        "vhd" => ("vpc", Some("subformat=dynamic,force_size=on")),
        "qcow2" => ("qcow2", Some("cluster_size=2M,lazy_refcounts=on")),
        other => (other, None),
    };
    let mut arguments = ["convert", "-f", "raw", "-O", format].map(OsStr::new).to_vec();
    if let Some(options) = options {
        arguments.extend(["-o", options].map(OsStr::new));
    }
    arguments.extend([raw.as_os_str(), output.temporary_path().as_os_str()]);
    let task = progress.start("Convert image", Unit::Items, None);
    let result = tool::run(&program, &arguments, &[], cancel);
    progress.finish(task);
    result?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::image::tool::tests::run;
    use crate::progress::Silent;

    /// 36 MiB with data at both ends and in the middle.
    fn raw(directory: &Path) -> PathBuf {
        let path = directory.join("image-1.0.raw");
        let file = File::create_new(&path).unwrap();
        file.set_len((36 << 20) + 512).unwrap();
        let text: Vec<u8> = (0..50_000_u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect();
        for offset in [0, 17 << 20, (36 << 20) + 512 - text.len() as u64] {
            file.write_all_at(&text, offset).unwrap();
        }
        path
    }

    fn artifact(format: &str, compression: Option<Compression>) -> Artifact {
        Artifact {
            format: format.into(),
            compression,
        }
    }

    #[test]
    fn the_usual_programs_unpack() {
        let directory = tempfile::tempdir().unwrap();
        let raw = raw(directory.path());
        let wanted = [Compression::Gzip, Compression::Xz, Compression::Zstd].map(|c| artifact("raw", Some(c)));
        let made = make(&raw, "image-1.0", &wanted, 3, &Silent, &Cancel::default()).unwrap();
        let programs = [("gzip", ".gz"), ("xz-utils", ".xz"), ("zstd", ".zstd")];
        for (made, (package, suffix)) in made.iter().zip(programs) {
            let path = made.path.to_str().unwrap();
            assert!(
                path.ends_with(&format!("image-1.0.raw{suffix}")) && made.size_bytes < 5 << 20,
                "{made:?}"
            );
            let program = package.trim_end_matches("-utils");
            // cmp compares with what the program gives on its stdout.
            let script = format!("{program} -dc < {path} | cmp - {}", raw.display());
            run(package, "sh", &["-c", &script]);
            let single = directory.path().join("single");
            let method = wanted
                .iter()
                .find(|w| path.ends_with(&file_name("image-1.0", w)))
                .unwrap()
                .compression
                .unwrap();
            compress(&raw, &single, method, 1, &Silent, &Cancel::default()).unwrap();
            assert!(std::fs::read(single).unwrap() == std::fs::read(path).unwrap());
        }
        assert!(!keeps_raw(&wanted) && keeps_raw(&[]) && keeps_raw(&[artifact("raw", None)]));
    }

    #[test]
    fn qemu_formats_hold_the_same_disk() {
        let directory = tempfile::tempdir().unwrap();
        let raw = raw(directory.path());
        let mut wanted: Vec<_> = ["qcow2", "vhd", "vhdx", "vmdk", "vdi"]
            .map(|f| artifact(f, None))
            .to_vec();
        wanted.push(artifact("qcow2", Some(Compression::Zstd)));
        check_tools(&wanted).unwrap();
        let made = make(&raw, "image-1.0", &wanted, 2, &Silent, &Cancel::default()).unwrap();
        for (made, artifact) in made.iter().zip(&wanted).take(5) {
            let format = if artifact.format == "vhd" {
                "vpc"
            } else {
                &artifact.format
            };
            let (raw, path) = (raw.to_str().unwrap(), made.path.to_str().unwrap());
            run(
                "qemu-utils",
                "qemu-img",
                &["compare", "-f", "raw", "-F", format, raw, path],
            );
        }
        assert!(made[5].path.ends_with("image-1.0.qcow2.zstd"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 7);
    }

    #[test]
    fn cancelling_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let raw = raw(directory.path());
        let cancel = Cancel::default();
        cancel.cancel();
        let target = directory.path().join("x.gz");
        let error = compress(&raw, &target, Compression::Gzip, 2, &Silent, &cancel).unwrap_err();
        assert!(error.is_cancelled(), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
