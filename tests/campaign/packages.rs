//! Packages that want to do harm, made by hand.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

/// A package: what is wrong with it, in words, and its bytes.
pub type Hostile = (String, Vec<u8>);

/// The name of every `.deb` here, which is that of a harmless package.
pub const NAME: &str = "hello";

fn control() -> Vec<u8> {
    format!(
        "Package: {NAME}\nVersion: 9.0\nArchitecture: amd64\nMaintainer: oic <oic@oic.invalid>\n\
         Description: hostile\n"
    )
    .into_bytes()
}

/// A member of a tar stream.
struct Member {
    name: Vec<u8>,
    kind: u8,
    mode: u32,
    link: Vec<u8>,
    content: Vec<u8>,
    /// The size that the header gives; that of the content if there is none.
    size: Option<u64>,
}

fn member(kind: u8, name: impl AsRef<[u8]>, link: impl AsRef<[u8]>) -> Member {
    Member {
        name: name.as_ref().to_vec(),
        kind,
        mode: if kind == b'5' { 0o755 } else { 0o644 },
        link: link.as_ref().to_vec(),
        content: Vec::new(),
        size: None,
    }
}

fn file(name: impl AsRef<[u8]>) -> Member {
    Member {
        content: b"hostile\n".to_vec(),
        ..member(b'0', name, "")
    }
}

impl Member {
    /// Writes the member as tar(5), "POSIX ustar archives", with GNU tar's `L` before it if its name is long.
    fn write(&self, stream: &mut Vec<u8>) {
        if self.name.len() > 100 {
            let long = Member {
                content: [&self.name[..], b"\0"].concat(),
                ..member(b'L', "././@LongLink", "")
            };
            long.write(stream);
        }
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0{:07o}\0{:07o}\0", self.mode, 0, 0).as_bytes());
        let size = self.size.unwrap_or(self.content.len() as u64);
        match size < 1 << 33 {
            true => put(124, format!("{size:011o}\0").as_bytes()),
            // Base 256.
            false => put(124, &[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat()),
        }
        put(136, format!("{:011o}\0        ", 1_700_000_000).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, b"0000001\x000000003\0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        stream.extend(header);
        stream.extend(&self.content);
        stream.resize(stream.len().next_multiple_of(512), 0);
    }
}

fn tar(members: &[Member]) -> Vec<u8> {
    let mut stream = Vec::new();
    member(b'5', "./", "").write(&mut stream);
    members.iter().for_each(|member| member.write(&mut stream));
    stream.resize(stream.len() + 1024, 0);
    stream
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Writes an ar file (deb(5)).
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let size = content.len();
        bytes.extend(
            format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
                1_700_000_000, 0, 0, "100644"
            )
            .as_bytes(),
        );
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

fn control_tar() -> Vec<u8> {
    let control = Member {
        content: control(),
        ..file("./control")
    };
    gzip(&tar(&[control]))
}

fn deb(data: &[u8]) -> Vec<u8> {
    ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", &control_tar()),
        ("data.tar.gz", data),
    ])
}

/// Returns `.deb` files that aim at the directory `outside`, which nothing may touch.
pub fn debs(outside: &Path) -> Vec<Hostile> {
    let mut all: Vec<Hostile> = trees(outside)
        .into_iter()
        .map(|(name, members)| (name.to_owned(), deb(&gzip(&tar(&members)))))
        .collect();
    let good = tar(&[file("./usr/share/hello-hostile")]);
    let whole = deb(&gzip(&good));
    for hundredths in [0, 1, 20, 50, 80, 99] {
        all.push((
            format!("cut at {hundredths}%"),
            whole[..whole.len() * hundredths / 100].to_vec(),
        ));
    }
    for hundredths in [5, 30, 60, 90] {
        let mut bytes = whole.clone();
        let at = bytes.len() * hundredths / 100;
        bytes[at] ^= 4;
        all.push((format!("a flipped bit at {hundredths}%"), bytes));
    }
    let mut sum = good.clone();
    sum[512 + 150] ^= 1;
    let mut short = gzip(&good);
    short.truncate(short.len() - 4);
    let pair = |name: &str, bytes: &[u8]| {
        ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", &control_tar()),
            (name, bytes),
        ])
    };
    let zeros = Member {
        content: vec![0; 200 << 20],
        ..file("./control")
    };
    all.extend(
        [
            ("a wrong checksum in the tar stream", deb(&gzip(&sum))),
            ("a packed stream without its end", deb(&short)),
            (
                "data that is not packed as its name says",
                pair("data.tar.xz", &gzip(&good)),
            ),
            ("data packed in an unknown way", pair("data.tar.arj", &good)),
            (
                "no data",
                ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control_tar())]),
            ),
            ("an unknown version", ar(&[("debian-binary", b"3.0\n")])),
            ("an empty file", Vec::new()),
            (
                "no control file",
                ar(&[
                    ("debian-binary", b"2.0\n"),
                    ("control.tar.gz", &gzip(&tar(&[]))),
                    ("data.tar.gz", &gzip(&good)),
                ]),
            ),
            (
                "a control file of 200 MiB",
                ar(&[
                    ("debian-binary", b"2.0\n"),
                    ("control.tar.gz", &gzip(&tar(&[zeros]))),
                    ("data.tar.gz", &gzip(&good)),
                ]),
            ),
            ("a member longer than the file", {
                let mut bytes = whole.clone();
                let at = bytes.len() - gzip(&good).len().next_multiple_of(2) - 12;
                bytes[at..at + 10].copy_from_slice(b"9999999999");
                bytes
            }),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes)),
    );
    all
}

/// Returns trees that want to leave the root, or to be what a package must not be.
fn trees(outside: &Path) -> Vec<(&'static str, Vec<Member>)> {
    let outside = outside.to_str().unwrap();
    let up = format!("{}{outside}", "../".repeat(30));
    let below = |directory: &str| format!("{directory}/evil");
    let huge = |size: u64| Member {
        size: Some(size),
        ..file("./usr/share/hello-huge")
    };
    let pax = |record: &str| Member {
        content: format!("{} {record}\n", record.len() + 4).into_bytes(),
        ..member(b'x', "./PaxHeaders/x", "")
    };
    vec![
        ("an absolute name", vec![file(below(outside))]),
        ("a name that goes up", vec![file(below(&up))]),
        (
            "a name that goes up in the middle",
            vec![file(format!("./usr/{up}/evil"))],
        ),
        ("a name that ends with dots", vec![file("./usr/..")]),
        ("an empty name", vec![file("")]),
        ("a name with a newline", vec![file("./usr/share/new\nline")]),
        (
            "a name with controls",
            vec![file("./usr/share/\x1b[2J\x07\u{202e}evil")],
        ),
        ("a name that is no text", vec![file(b"./usr/share/\xff\xfe")]),
        (
            "a name of 5000 bytes",
            vec![file(format!("./usr/share/{}", "n".repeat(5000)))],
        ),
        (
            "a path of 4000 directories",
            vec![file(format!("./{}", "d/".repeat(4000)))],
        ),
        (
            "a file through a link that leads out",
            vec![member(b'2', "./out", outside), file("./out/evil")],
        ),
        (
            "a file through a link that goes up",
            vec![member(b'2', "./out", &up), file("./out/evil")],
        ),
        (
            "a file through two links",
            vec![
                member(b'2', "./one", "."),
                member(b'2', "./one/two", outside),
                file("./two/evil"),
            ],
        ),
        (
            "a directory that a link replaces",
            vec![
                member(b'5', "./usr/share/d/", ""),
                member(b'2', "./usr/share/d", outside),
                file("./usr/share/d/evil"),
            ],
        ),
        (
            "a link to itself",
            vec![member(b'2', "./loop", "loop"), file("./loop/evil")],
        ),
        (
            "a link with an empty target",
            vec![member(b'2', "./usr/share/empty", "")],
        ),
        (
            "a hard link to a file outside",
            vec![member(
                b'1',
                "./usr/share/hard",
                below(outside).replace("evil", "canary"),
            )],
        ),
        (
            "a hard link that goes up",
            vec![member(b'1', "./usr/share/hard", format!("{up}/canary"))],
        ),
        (
            "a hard link through a link",
            vec![
                member(b'2', "./out", outside),
                member(b'1', "./usr/share/hard", "./out/canary"),
            ],
        ),
        (
            "a hard link to nothing",
            vec![member(b'1', "./usr/share/hard", "./usr/share/nothing")],
        ),
        ("a disk", vec![member(b'4', "./dev/hostile-disk", "")]),
        ("a character device", vec![member(b'3', "./dev/hostile-memory", "")]),
        ("a FIFO in the place of a file", vec![member(b'6', "./etc/hosts", "")]),
        (
            "a set-id program",
            vec![Member {
                mode: 0o6755,
                ..file("./usr/bin/hostile")
            }],
        ),
        ("a size of a TiB", vec![huge(1 << 40)]),
        ("a size beyond all", vec![huge(u64::MAX >> 1)]),
        ("more than the stream has", vec![huge(1 << 20)]),
        ("an unknown kind", vec![member(b'Z', "./usr/share/unknown", "")]),
        ("a sparse file of GNU tar", vec![member(b'S', "./usr/share/sparse", "")]),
        (
            "a directory in the place of a file",
            vec![member(b'5', "./etc/passwd/", "")],
        ),
        ("a file in the place of a directory", vec![file("./usr")]),
        (
            "an opaque directory of an overlay",
            vec![
                pax("SCHILY.xattr.trusted.overlay.opaque=y"),
                member(b'5', "./usr/share/o/", ""),
            ],
        ),
        ("a pax record without its end", vec![pax("path"), file("./usr/share/p")]),
        (
            "a pax size of its own",
            vec![pax("size=99999999999999999999"), file("./usr/share/p")],
        ),
    ]
}

/// Returns `.rpm` files made from `good`, a sound one, whose only directory is as long as `directory`.
pub fn rpms(good: &[u8], (from, directories): (&str, &[String])) -> Vec<Hostile> {
    let mut all = Vec::new();
    for directory in directories {
        assert_eq!(directory.len(), from.len());
        all.push((
            format!("the directory {directory:?}"),
            replaced(good, from.as_bytes(), directory.as_bytes()),
        ));
    }
    for hundredths in [0, 1, 3, 10, 25, 50, 75, 90, 99] {
        all.push((
            format!("cut at {hundredths}%"),
            good[..good.len() * hundredths / 100].to_vec(),
        ));
    }
    for at in [0, 5, 96, 104, 108, 111, 200, 300, 400, 600, 900, 1400] {
        let mut bytes = good.to_vec();
        bytes[at] ^= 0x40;
        all.push((format!("a flipped bit in byte {at}"), bytes));
    }
    for (at, name) in [(104, "signature"), (108, "signature's store")] {
        let mut bytes = good.to_vec();
        bytes[at..at + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]);
        all.push((format!("a {name} of two thousand million"), bytes));
    }
    all.push(("more behind its end".to_owned(), [good, &good[..500]].concat()));
    all.push(("another kind of file".to_owned(), deb(&gzip(&tar(&[])))));
    all
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for at in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[at..].starts_with(from) {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
    }
    bytes
}
