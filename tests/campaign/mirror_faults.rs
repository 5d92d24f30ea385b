//! A mirror that misbehaves: each file of a repository, with each fault.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use oic_testkit::server::{Fault as ServerFault, Server};
use oic_testkit::tiny::Distribution;

use crate::ground::{Ground, Site};
use crate::program::Ended;
use crate::tally::{Fault, Tally};

const INDEX: &str = "dists/tiny/main/binary-amd64/Packages.gz";
/// The files that are asked for, and whether each is an index.
const FILES: [(&str, bool); 5] = [
    ("dists/tiny/InRelease", true),
    (INDEX, true),
    ("pool/hello.deb", false),
    ("pool/systemd-boot-efi.deb", false),
    ("pool/linux-image-tiny.deb", false),
];

/// What goes wrong, by name: from the right content and the server's own address to faults, the last of which stays if
/// `stays`.
struct Kind {
    name: &'static str,
    stays: bool,
    fault: fn(&[u8], &str) -> ServerFault,
}

const fn kind(name: &'static str, stays: bool, fault: fn(&[u8], &str) -> ServerFault) -> Kind {
    Kind { name, stays, fault }
}

const KINDS: [Kind; 19] = [
    kind("is not there", true, |_, _| ServerFault::Status(404, String::new())),
    kind("is gone", true, |_, _| ServerFault::Status(410, String::new())),
    kind("is forbidden", true, |_, _| ServerFault::Status(403, String::new())),
    kind("fails once", false, |_, _| ServerFault::Status(500, String::new())),
    kind("asks to wait", false, |_, _| {
        ServerFault::Status(503, "Retry-After: 1\r\n".into())
    }),
    kind("is empty", true, |_, _| ServerFault::Instead(Vec::new())),
    kind("is cut at once", false, |_, _| ServerFault::CutAfter(0)),
    kind("is cut in the middle", false, |bytes, _| {
        ServerFault::CutAfter(bytes.len() / 2)
    }),
    kind("is cut before its end", false, |bytes, _| {
        ServerFault::CutAfter(bytes.len() - 1)
    }),
    kind("is short", true, |bytes, _| {
        ServerFault::Instead(bytes[..bytes.len() / 2].to_vec())
    }),
    kind("is long", true, |bytes, _| {
        ServerFault::Instead([bytes, b"more"].concat())
    }),
    kind("has a flipped bit", true, |bytes, _| {
        ServerFault::Instead(flipped(bytes))
    }),
    kind("is another file", true, |_, _| {
        ServerFault::Instead(b"!<arch>\ndebian-binary   ".to_vec())
    }),
    kind("is a bomb", true, |_, _| ServerFault::Instead(bomb())),
    kind("says that it is longer", false, |_, _| ServerFault::WrongLength(7)),
    kind("says that it is shorter", true, |bytes, _| {
        ServerFault::WrongLength(-(bytes.len() as i64) / 2)
    }),
    kind("redirects to itself", true, |_, url| {
        ServerFault::Redirect(url.to_owned())
    }),
    kind("redirects to nothing", true, |_, _| {
        ServerFault::Redirect("http://127.0.0.1:9/".into())
    }),
    kind("is slow", false, |_, _| ServerFault::Slow(Duration::from_millis(2))),
];

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

/// Returns 64 MiB of zeros, packed.
fn bomb() -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        packer.write_all(&vec![0; 1 << 20]).unwrap();
    }
    packer.finish().unwrap()
}

/// Asks mirrors that misbehave.
pub fn chapter(ground: &Ground) -> Tally {
    let mut all: Vec<(&Kind, &str, bool)> = Vec::new();
    for (file, is_index) in FILES {
        all.extend(KINDS.iter().map(|kind| (kind, file, is_index)));
    }
    let mut random = ground.random("mirror");
    random.shuffle(&mut all);
    all.truncate(usize::try_from(ground.scale.count(8, 1000)).unwrap());
    let mut tally = Tally::of(all.len() as u64);
    let site = ground.site("mirror");
    for (number, (kind, file, is_index)) in all.into_iter().enumerate() {
        if !tally.goes_on(&ground.scale) {
            break;
        }
        tally.attempts(1);
        let case = format!("{file} {}", kind.name);
        forget(&site, file, is_index);
        let ended = ask(ground, &site, kind, file);
        judge(ground, &mut tally, &case, &site, kind, &ended);
        ground.check_leftovers(&mut tally, &case, &site, true);
        if ground.scale.is_short || number % 4 == 0 {
            ground.check_build(&mut tally, &case, &site);
        }
    }
    ground.check_build(&mut tally, "after all faults", &site);
    tally
}

/// Makes the next build ask for `file`.
fn forget(site: &Site, file: &str, is_index: bool) {
    if is_index {
        let _ = fs::remove_dir_all(site.packages().join("metadata"));
        return;
    }
    site.forget(&["imagebuild", "chrootbuild/layers"]);
    let name = Path::new(file).file_stem().unwrap().to_str().unwrap();
    for package in fs::read_dir(site.packages()).unwrap().flatten() {
        if package.file_name().to_str().unwrap().starts_with(&format!("{name}_")) {
            fs::remove_file(package.path()).unwrap();
        }
    }
}

/// Builds over `site` from a mirror on which `file` has the fault of `kind`.
fn ask(ground: &Ground, site: &Site, kind: &Kind, file: &str) -> Ended {
    let archive = ground.distribution.archive();
    let bytes = fs::read(archive.join(file)).unwrap();
    let server: Server = Distribution::serve(&archive);
    let path = format!("/{file}");
    let fault = (kind.fault)(&bytes, &server.url(&path));
    server.page(&path, bytes);
    match kind.stays {
        true => server.always(&path, fault),
        false => server.faults(&path, [fault]),
    }
    let template = ground.template();
    let mut command = ground.command(site, &["build", template.to_str().unwrap(), "--format", "json"]);
    command.env("OIC_MIRROR_DEBIAN", server.url(""));
    crate::program::Running::start(command, ground.directory()).end()
}

/// Judges the end of a build: what passes must do no harm; what stays is named, or another form of the file helps.
fn judge(ground: &Ground, tally: &mut Tally, case: &str, site: &Site, kind: &Kind, ended: &Ended) {
    let codes: &[_] = if kind.stays { &[Some(0), Some(1)] } else { &[Some(0)] };
    if !ground.check_end(tally, case, ended, codes) {
        return;
    }
    match ended.code {
        Some(0) => ground.check_image(tally, case, site, ended),
        _ if ["tiny", "hello", "systemd-boot-efi", "linux-image-tiny"]
            .iter()
            .any(|name| ended.stderr.contains(name)) => {}
        _ => tally.fault(Fault::WrongCode, format!("{case}: names no culprit: {}", ended.stderr)),
    }
}
