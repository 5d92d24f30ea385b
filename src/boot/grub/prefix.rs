//! The directory in which a GRUB program looks for its configuration: grub-mkimage(1) puts it into the program, among the
//! modules in the section `mods` (GRUB, `include/grub/kernel.h`).

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::boot::pe;
use crate::package::Arch;

/// `mimg`, the beginning of the section.
const MAGIC: u32 = 0x676d_696d;
/// The type of the module that holds the directory.
const PREFIX: u32 = 3;
/// The longest directory that is believed, in bytes.
const LIMIT_BYTES: usize = 256;

/// The beginning of the section in a program for a processor of 64 bits.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Wide {
    magic: U32,
    padding: U32,
    offset: U64,
    size: U64,
}

/// The same for 32 bits.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Narrow {
    magic: U32,
    offset: U32,
    size: U32,
}

/// The beginning of each module; its size counts itself.
#[derive(Debug, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: U32,
    size: U32,
}

/// Returns the directory of `program`, a GRUB for `arch`, from the top of the partition that the firmware has started it
/// from, with a `/` at its beginning and none at its end; `None` if `program` has none, or one that lies elsewhere.
pub fn of(program: &[u8], arch: Arch) -> Option<String> {
    let section = pe::section(program, "mods").ok()??;
    let (magic, offset, size) = match arch {
        Arch::Armv7hl => {
            let (head, _) = Narrow::ref_from_prefix(section).ok()?;
            (head.magic, u64::from(head.offset), u64::from(head.size))
        }
        Arch::X86_64 | Arch::Aarch64 => {
            let (head, _) = Wide::ref_from_prefix(section).ok()?;
            (head.magic, head.offset.get(), head.size.get())
        }
    };
    if magic.get() != MAGIC {
        return None;
    }
    // Older versions count the size from the start of the section, as the offset.
    let end = usize::try_from(size).ok()?.min(section.len());
    let mut rest = section.get(usize::try_from(offset).ok()?..end)?;
    while let Ok((header, _)) = Header::ref_from_prefix(rest) {
        let size = header.size.get() as usize;
        if size < size_of::<Header>() {
            return None;
        }
        let contents = rest.get(size_of::<Header>()..size)?;
        if header.kind.get() == PREFIX {
            return directory(contents);
        }
        rest = rest.get(size..)?;
    }
    None
}

/// Returns the text before the first NUL of `contents` if it is a plain absolute path.
fn directory(contents: &[u8]) -> Option<String> {
    let text = contents.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.len() <= LIMIT_BYTES)?;
    let path = text.trim_end_matches('/').strip_prefix('/')?;
    let is_plain = |part: &str| {
        let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ' ');
        !matches!(part, "" | "." | "..") && part.chars().all(is_good)
    };
    path.split('/').all(is_plain).then(|| format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the package grub-efi-amd64-bin.
    const PROGRAM: &str = "/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi";

    fn program() -> Vec<u8> {
        std::fs::read(PROGRAM).unwrap_or_else(|e| panic!("this test needs {PROGRAM}: install grub-efi-amd64-bin ({e})"))
    }

    #[test]
    fn the_prefix_of_debian_is_found() {
        assert_eq!(of(&program(), Arch::X86_64).as_deref(), Some("/EFI/debian"));
    }

    #[test]
    fn only_plain_absolute_paths_are_believed() {
        for (text, expected) in [
            ("/EFI/debian\0\0", Some("/EFI/debian")),
            ("/boot/grub2/", Some("/boot/grub2")),
            ("/EFI/Red Hat\0rest", Some("/EFI/Red Hat")),
            ("(memdisk)/boot/grub", None),
            ("(,gpt2)/boot/grub", None),
            ("boot/grub", None),
            ("/EFI/../../x", None),
            ("/EFI/a;b", None),
            ("/EFI//a", None),
            ("/", None),
            ("", None),
            ("\0", None),
        ] {
            assert_eq!(directory(text.as_bytes()).as_deref(), expected, "{text:?}");
        }
        assert_eq!(directory(b"/\xff"), None);
        assert_eq!(directory(format!("/{}", "a".repeat(300)).as_bytes()), None);
    }

    #[test]
    fn hostile_programs_have_none() {
        let good = program();
        for length in (0..2048).chain([0x1d000, 0x1d010, 0x1d018, 0x1d020, good.len() - 1]) {
            let _ = of(&good[..length], Arch::X86_64);
        }
        let mods = pe::section(&good, "mods").unwrap().unwrap();
        let start = mods.as_ptr() as usize - good.as_ptr() as usize;
        for offset in (0..1024).chain(start..start + 64) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut program = good.clone();
                program[offset] = value;
                let _ = of(&program, Arch::X86_64);
                let _ = of(&program, Arch::Armv7hl);
            }
        }
        // A module of size 0 would be read for ever.
        let mut endless = good;
        endless[start + 28..start + 32].fill(0);
        assert_eq!(of(&endless, Arch::X86_64), None);
    }
}
