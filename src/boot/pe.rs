//! Appends sections to a PE image, leaving everything that is there in its place
//! (Microsoft, "PE Format": COFF file header, optional header, section table).

use crate::image::content::Source;
use crate::package::Arch;

const SECTION_HEADER_BYTES: usize = 40;
/// Sections are for reading, and their bytes are in the file.
const READABLE_DATA: u32 = 0x4000_0000 | 0x40;
const MAGIC_PE32: u16 = 0x10b;
const MAGIC_PE32_PLUS: u16 = 0x20b;
/// What new sections are aligned to in memory, at least.
const PAGE_BYTES: u64 = 4096;

/// Why a file is not a PE image that sections can be added to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeError {
    /// It is no PE image or contradicts itself.
    #[error("not a valid EFI program ({0})")]
    Invalid(&'static str),
    /// It is for another machine.
    #[error("an EFI program for machine type {machine:#06x}, not for {arch}")]
    Machine {
        /// COFF machine type.
        machine: u16,
        /// What was expected.
        arch: Arch,
    },
    /// It has such a section already.
    #[error("already has a section {0}")]
    Duplicate(&'static str),
    /// The headers have no room for more sections.
    #[error("no room in its headers for {0} more sections")]
    NoRoom(usize),
    /// A signature would no longer hold.
    #[error("is signed; an unsigned one is needed")]
    Signed,
    /// The result would exceed the limits of the format.
    #[error("with its sections it would be larger than 4 GiB")]
    TooLarge,
}

/// Where the headers of an image lie and what they say.
struct Headers {
    machine: u16,
    section_count: u16,
    /// Offsets in the file.
    coff: usize,
    optional: usize,
    section_table: usize,
    section_alignment: u64,
    file_alignment: u64,
    headers_bytes: u64,
    is_signed: bool,
}

impl Headers {
    fn parse(image: &[u8]) -> Result<Self, PeError> {
        let u16_at = |offset| get(image, offset).map(u16::from_le_bytes);
        let u32_at = |offset| get(image, offset).map(u32::from_le_bytes);
        if get(image, 0)? != *b"MZ" {
            return Err(PeError::Invalid("no MZ header"));
        }
        let signature = u32_at(0x3c)? as usize;
        if get(image, signature)? != *b"PE\0\0" {
            return Err(PeError::Invalid("no PE header"));
        }
        let coff = signature + 4;
        let optional = coff + 20;
        let optional_bytes = usize::from(u16_at(coff + 16)?);
        let directories = match u16_at(optional)? {
            MAGIC_PE32 => optional + 92,
            MAGIC_PE32_PLUS => optional + 108,
            _ => return Err(PeError::Invalid("unknown optional header")),
        };
        // Directory 4 is the certificate table: an offset and a size.
        let has_certificates = u32_at(directories)? > 4 && optional_bytes >= directories - optional + 44;
        let headers = Self {
            machine: u16_at(coff)?,
            section_count: u16_at(coff + 2)?,
            coff,
            optional,
            section_table: optional + optional_bytes,
            section_alignment: u64::from(u32_at(optional + 32)?),
            file_alignment: u64::from(u32_at(optional + 36)?),
            headers_bytes: u64::from(u32_at(optional + 60)?),
            is_signed: has_certificates && u32_at(directories + 4 + 36)? != 0,
        };
        let alignments = [headers.section_alignment, headers.file_alignment];
        if optional_bytes < directories + 4 - optional || !alignments.iter().all(|a| a.is_power_of_two()) {
            return Err(PeError::Invalid("optional header"));
        }
        if headers.headers_bytes > image.len() as u64 {
            return Err(PeError::Invalid("headers larger than the file"));
        }
        Ok(headers)
    }
}

/// Checks that `image` is a PE image for `arch`.
///
/// # Errors
/// [`PeError`] if not.
pub fn check(image: &[u8], arch: Arch) -> Result<(), PeError> {
    let machine = Headers::parse(image)?.machine;
    let fits = match arch {
        Arch::X86_64 => machine == 0x8664,
        Arch::Aarch64 => machine == 0xaa64,
        Arch::Armv7hl => matches!(machine, 0x1c0 | 0x1c2 | 0x1c4),
    };
    if fits {
        Ok(())
    } else {
        Err(PeError::Machine { machine, arch })
    }
}

/// Appends `sections` (name of at most eight bytes, contents) to `image`, in order.
///
/// # Errors
/// [`PeError`] if `image` is not valid, is signed, has such a section, or has no room.
pub fn append(mut image: Vec<u8>, sections: Vec<(&'static str, Source)>) -> Result<Source, PeError> {
    let headers = Headers::parse(&image)?;
    if headers.is_signed {
        return Err(PeError::Signed);
    }
    let mut layout = Layout::behind(&image, &headers, &sections)?;
    let mut header = headers.section_table + usize::from(headers.section_count) * SECTION_HEADER_BYTES;
    let new_bytes = sections.len() * SECTION_HEADER_BYTES;
    let room = get_slice(&image, header, new_bytes)?;
    if (header + new_bytes) as u64 > layout.headers_end || room.iter().any(|byte| *byte != 0) {
        return Err(PeError::NoRoom(sections.len()));
    }
    let count = headers
        .section_count
        .checked_add(sections.len() as u16)
        .ok_or(PeError::TooLarge)?;
    let initialized = u32::from_le_bytes(get(&image, headers.optional + 8)?);
    let mut data_bytes = u64::from(initialized);
    let mut tail = Vec::new();
    for (name, contents) in sections {
        let place = layout.place(contents.size_bytes())?;
        let mut entry = [0; SECTION_HEADER_BYTES];
        for (target, byte) in entry[..8].iter_mut().zip(name.bytes()) {
            *target = byte;
        }
        for (offset, value) in [
            (8, place.size),
            (12, place.address),
            (16, place.file_size),
            (20, place.file_offset),
            (36, READABLE_DATA),
        ] {
            put(&mut entry, offset, &value.to_le_bytes());
        }
        put(&mut image, header, &entry);
        header += SECTION_HEADER_BYTES;
        data_bytes += u64::from(place.file_size);
        tail.push(contents);
        tail.push(Source::Zeros(u64::from(place.file_size - place.size)));
    }
    let image_bytes = fit(layout.address.next_multiple_of(headers.section_alignment))?;
    put(&mut image, headers.coff + 2, &count.to_le_bytes());
    put(&mut image, headers.optional + 8, &fit(data_bytes)?.to_le_bytes());
    put(&mut image, headers.optional + 56, &image_bytes.to_le_bytes());
    put(&mut image, headers.optional + 64, &0_u32.to_le_bytes());
    let padding = (image.len() as u64).next_multiple_of(headers.file_alignment) - image.len() as u64;
    let mut parts = vec![Source::Bytes(image), Source::Zeros(padding)];
    parts.append(&mut tail);
    Ok(Source::Chain(parts))
}

/// Where the next section goes.
struct Layout {
    address: u64,
    file_offset: u64,
    section_alignment: u64,
    file_alignment: u64,
    /// Where the room for headers ends in the file.
    headers_end: u64,
}

struct Place {
    address: u32,
    size: u32,
    file_offset: u32,
    file_size: u32,
}

impl Layout {
    /// Behind everything that `image` has.
    fn behind(image: &[u8], headers: &Headers, sections: &[(&'static str, Source)]) -> Result<Self, PeError> {
        let mut layout = Self {
            address: headers.headers_bytes,
            file_offset: image.len() as u64,
            section_alignment: headers.section_alignment.max(PAGE_BYTES),
            file_alignment: headers.file_alignment,
            headers_end: headers.headers_bytes,
        };
        for index in 0..usize::from(headers.section_count) {
            let entry = get_slice(
                image,
                headers.section_table + index * SECTION_HEADER_BYTES,
                SECTION_HEADER_BYTES,
            )?;
            let value = |offset| get(entry, offset).map(u32::from_le_bytes).map(u64::from);
            let (size, address, file_size, file_offset) = (value(8)?, value(12)?, value(16)?, value(20)?);
            if file_size > 0 && file_offset + file_size > image.len() as u64 {
                return Err(PeError::Invalid("a section lies outside of the file"));
            }
            if file_size > 0 {
                layout.headers_end = layout.headers_end.min(file_offset);
            }
            layout.address = layout.address.max(address + size.max(file_size));
            let name = entry.get(..8).unwrap_or_default();
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let is_same = |wanted: &&(&str, Source)| name.get(..end) == Some(wanted.0.as_bytes());
            if let Some((name, _)) = sections.iter().find(is_same) {
                return Err(PeError::Duplicate(name));
            }
        }
        Ok(layout)
    }

    fn place(&mut self, size_bytes: u64) -> Result<Place, PeError> {
        if size_bytes > u64::from(u32::MAX) {
            return Err(PeError::TooLarge);
        }
        let address = self.address.next_multiple_of(self.section_alignment);
        let file_offset = self.file_offset.next_multiple_of(self.file_alignment);
        let file_size = size_bytes.next_multiple_of(self.file_alignment);
        // A section takes a page even if it is empty: addresses differ.
        self.address = address + size_bytes.max(1);
        self.file_offset = file_offset + file_size;
        fit(self.file_offset)?;
        fit(self.address)?;
        Ok(Place {
            address: fit(address)?,
            size: fit(size_bytes)?,
            file_offset: fit(file_offset)?,
            file_size: fit(file_size)?,
        })
    }
}

fn fit(value: u64) -> Result<u32, PeError> {
    u32::try_from(value).map_err(|_| PeError::TooLarge)
}

fn get_slice(bytes: &[u8], offset: usize, count: usize) -> Result<&[u8], PeError> {
    let end = offset.checked_add(count).ok_or(PeError::Invalid("cut short"))?;
    bytes.get(offset..end).ok_or(PeError::Invalid("cut short"))
}

fn get<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], PeError> {
    get_slice(bytes, offset, N)?
        .try_into()
        .map_err(|_| PeError::Invalid("cut short"))
}

/// Overwrites bytes whose place was read before.
fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + value.len()) {
        place.copy_from_slice(value);
    }
}
