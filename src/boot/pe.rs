//! Sections of a PE image: reads them, and appends others, leaving the existing contents in place (Microsoft, "PE Format": COFF file header,
//! optional header, section table).

use std::ops::Range;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::image::content::Source;
use crate::package::Arch;

/// The flags of a section that is readable and whose bytes are in the file.
const READABLE_DATA: u32 = 0x4000_0000 | 0x40;
const MAGIC_PE32: u16 = 0x10b;
const MAGIC_PE32_PLUS: u16 = 0x20b;
/// The smallest alignment of new sections in memory.
const PAGE_BYTES: u64 = 4096;

/// The reason why sections cannot be added to a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeError {
    /// It is not a PE image, or is inconsistent.
    #[error("not a valid EFI program ({0})")]
    Invalid(&'static str),
    /// It is for another machine.
    #[error("an EFI program for machine type {machine:#06x}, not for {arch}")]
    Machine {
        /// COFF machine type.
        machine: u16,
        /// The expected architecture.
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

/// The COFF file header.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Coff {
    machine: U16,
    section_count: U16,
    timestamp: U32,
    /// Start and length of the symbols, which no firmware reads.
    symbols: [U32; 2],
    optional_bytes: U16,
    characteristics: U16,
}

/// The part of the optional header in which PE32 and PE32+ agree.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Optional {
    magic: U16,
    unused: [u8; 6],
    initialized_data_bytes: U32,
    unused_too: [u8; 20],
    section_alignment: U32,
    file_alignment: U32,
    versions: [u8; 16],
    image_bytes: U32,
    headers_bytes: U32,
    checksum: U32,
}

/// An entry of the section table.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Section {
    name: [u8; 8],
    size: U32,
    address: U32,
    file_size: U32,
    file_offset: U32,
    unused: [u8; 12],
    flags: U32,
}

const SECTION_BYTES: usize = size_of::<Section>();
const _: () = assert!(size_of::<Coff>() == 20 && size_of::<Optional>() == 68 && SECTION_BYTES == 40);

/// Places and values of an image's headers.
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
    /// The place of the directory entry of the certificate table, if there is one.
    certificates: Option<usize>,
    /// The start and the length of the certificate table.
    signatures: (u64, u64),
}

impl Headers {
    fn parse(image: &[u8]) -> Result<Self, PeError> {
        let u32_at = |offset| record::<U32>(image, offset).map(|value| value.get());
        if *record::<[u8; 2]>(image, 0)? != *b"MZ" {
            return Err(PeError::Invalid("no MZ header"));
        }
        let signature = u32_at(0x3c)? as usize;
        if *record::<[u8; 4]>(image, signature)? != *b"PE\0\0" {
            return Err(PeError::Invalid("no PE header"));
        }
        let coff_at = signature + 4;
        let coff: &Coff = record(image, coff_at)?;
        let optional_at = coff_at + size_of::<Coff>();
        let optional_bytes = usize::from(coff.optional_bytes.get());
        // The magic comes first: a PE32 header may be shorter than the common part.
        let directories = match record::<U16>(image, optional_at)?.get() {
            MAGIC_PE32 => optional_at + 92,
            MAGIC_PE32_PLUS => optional_at + 108,
            _ => return Err(PeError::Invalid("unknown optional header")),
        };
        let optional: &Optional = record(image, optional_at)?;
        // Directory 4 is the certificate table: an offset and a size.
        let has_certificates = u32_at(directories)? > 4 && optional_bytes >= directories - optional_at + 44;
        let headers = Self {
            machine: coff.machine.get(),
            section_count: coff.section_count.get(),
            coff: coff_at,
            optional: optional_at,
            section_table: optional_at + optional_bytes,
            section_alignment: u64::from(optional.section_alignment),
            file_alignment: u64::from(optional.file_alignment),
            headers_bytes: u64::from(optional.headers_bytes),
            certificates: has_certificates.then_some(directories + 36),
            signatures: match has_certificates {
                true => (u32_at(directories + 36)?.into(), u32_at(directories + 4 + 36)?.into()),
                false => (0, 0),
            },
        };
        let alignments = [headers.section_alignment, headers.file_alignment];
        if optional_bytes < directories + 4 - optional_at || !alignments.iter().all(|a| a.is_power_of_two()) {
            return Err(PeError::Invalid("optional header"));
        }
        if headers.headers_bytes > image.len() as u64 {
            return Err(PeError::Invalid("headers larger than the file"));
        }
        Ok(headers)
    }
}

impl Headers {
    /// Returns the number of bytes that headers and sections have in the file of `image`, and the end of the last one.
    fn hashed(&self, image: &[u8]) -> Result<(u64, u64), PeError> {
        let (mut sum, mut end) = (self.headers_bytes, self.headers_bytes);
        for index in 0..usize::from(self.section_count) {
            let section: &Section = record(image, self.section_table + index * SECTION_BYTES)?;
            let (size, offset) = (u64::from(section.file_size), u64::from(section.file_offset));
            if size > 0 {
                sum += size;
                end = end.max(offset + size);
            }
        }
        Ok((sum, end))
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

/// What the headers of an EFI program say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// COFF machine type.
    pub machine: u16,
    /// The length of its signatures in bytes; 0 if it has none.
    pub signature_bytes: u64,
    /// The names of its sections, and the ranges of their contents in the file.
    pub sections: Vec<(String, Range<usize>)>,
}

/// Reads the headers of `image`.
///
/// # Errors
/// [`PeError`] if it is no EFI program, or a section lies outside of it.
pub fn facts(image: &[u8]) -> Result<Facts, PeError> {
    let headers = Headers::parse(image)?;
    let mut sections = Vec::new();
    let count = usize::from(headers.section_count);
    for offset in (headers.section_table..).step_by(SECTION_BYTES).take(count) {
        let section: &Section = record(image, offset)?;
        let name = section.name.split(|byte| *byte == 0).next().unwrap_or_default();
        // What is longer in memory is zeros there; what is longer in the file is padding.
        let length = section.size.get().min(section.file_size.get());
        // What has no bytes in the file may name any place.
        let start = if length == 0 {
            0
        } else {
            section.file_offset.get() as usize
        };
        let range = start..start.saturating_add(length as usize);
        if range.end > image.len() {
            return Err(PeError::Invalid("a section outside of the file"));
        }
        sections.push((String::from_utf8_lossy(name).into_owned(), range));
    }
    Ok(Facts {
        machine: headers.machine,
        signature_bytes: headers.signatures.1,
        sections,
    })
}

/// The places of a program's headers that its signatures concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignaturePlaces {
    checksum: usize,
    /// The directory entry of the certificate table: start and length.
    entry: usize,
    /// The start and the length of the table, if there is one.
    pub table: Option<(u64, u64)>,
}

impl SignaturePlaces {
    /// Returns offset and length of what an Authenticode digest leaves out of the headers, in order.
    pub fn left_out(&self) -> [(u64, u64); 2] {
        [(self.checksum as u64, 4), (self.entry as u64, 8)]
    }
}

/// Finds the places of signatures in the headers of `image`.
///
/// # Errors
/// [`PeError`] if it is no EFI program, or its headers have no room for a certificate table.
pub fn signature_places(image: &[u8]) -> Result<SignaturePlaces, PeError> {
    let headers = Headers::parse(image)?;
    let (sum, end) = headers.hashed(image)?;
    if sum != end {
        return Err(PeError::Invalid(
            "a gap between its sections, which firmware leaves out of the digest",
        ));
    }
    let checksum = headers.optional + std::mem::offset_of!(Optional, checksum);
    let no_room = PeError::Invalid("its headers have no entry for signatures");
    Ok(SignaturePlaces {
        checksum,
        entry: headers.certificates.ok_or(no_room)?,
        table: Some(headers.signatures).filter(|(_, length)| *length != 0),
    })
}

/// Makes the headers of `image` name a certificate table, by its start and its length, and no checksum, which no firmware
/// compares.
///
/// # Errors
/// [`PeError`] if the table lies behind 4 GiB.
pub fn set_signatures(image: &mut [u8], places: &SignaturePlaces, (start, length): (u64, u64)) -> Result<(), PeError> {
    *record_mut(image, places.checksum)? = U32::ZERO;
    *record_mut(image, places.entry)? = U32::new(fit(start)?);
    *record_mut(image, places.entry + 4)? = U32::new(fit(length)?);
    fit(start + length)?;
    Ok(())
}

/// Returns the bytes in the file of the first section `name` of `image`; `None` if it has no such section.
///
/// # Errors
/// As [`facts`].
pub fn section<'a>(image: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, PeError> {
    let mut sections = facts(image)?.sections.into_iter();
    let found = sections.find(|(found, _)| found == name);
    Ok(found.and_then(|(_, range)| image.get(range)))
}

/// Appends `sections` (name of at most eight bytes, contents) to `image`, in order.
///
/// # Errors
/// [`PeError`] if `image` is not valid, is signed, has such a section, or has no room.
pub fn append(mut image: Vec<u8>, sections: Vec<(&'static str, Source)>) -> Result<Source, PeError> {
    let headers = Headers::parse(&image)?;
    if headers.signatures.1 != 0 {
        return Err(PeError::Signed);
    }
    // Symbols behind the sections would lie between them now: firmware leaves such gaps out of the digest, and others do not.
    let (_, end) = headers.hashed(&image)?;
    image.truncate(usize::try_from(end).unwrap_or(usize::MAX));
    record_mut::<Coff>(&mut image, headers.coff)?.symbols = [U32::ZERO; 2];
    let mut layout = Layout::behind(&image, &headers, &sections)?;
    let first = headers.section_table + usize::from(headers.section_count) * SECTION_BYTES;
    let new_bytes = sections.len() * SECTION_BYTES;
    let room = get_slice(&image, first, new_bytes)?;
    if (first + new_bytes) as u64 > layout.headers_end || room.iter().any(|byte| *byte != 0) {
        return Err(PeError::NoRoom(sections.len()));
    }
    let added = u16::try_from(sections.len()).map_err(|_| PeError::TooLarge)?;
    let count = headers.section_count.checked_add(added).ok_or(PeError::TooLarge)?;
    let mut data_bytes = u64::from(record::<Optional>(&image, headers.optional)?.initialized_data_bytes);
    let mut tail = Vec::new();
    for ((name, contents), offset) in sections.into_iter().zip((first..).step_by(SECTION_BYTES)) {
        let place = layout.place(contents.size_bytes())?;
        *record_mut(&mut image, offset)? = place.section(name);
        data_bytes += u64::from(place.file_size);
        tail.push(contents);
        tail.push(Source::Zeros(u64::from(place.file_size - place.size)));
    }
    record_mut::<Coff>(&mut image, headers.coff)?.section_count = U16::new(count);
    let optional: &mut Optional = record_mut(&mut image, headers.optional)?;
    optional.initialized_data_bytes = U32::new(fit(data_bytes)?);
    optional.image_bytes = U32::new(fit(layout.address.next_multiple_of(headers.section_alignment))?);
    optional.checksum = U32::ZERO;
    let padding = (image.len() as u64).next_multiple_of(headers.file_alignment) - image.len() as u64;
    let mut parts = vec![Source::Bytes(image), Source::Zeros(padding)];
    parts.append(&mut tail);
    Ok(Source::Chain(parts))
}

/// The place of the next section.
struct Layout {
    address: u64,
    file_offset: u64,
    section_alignment: u64,
    file_alignment: u64,
    /// The end of the room for headers in the file.
    headers_end: u64,
}

struct Place {
    address: u32,
    size: u32,
    file_offset: u32,
    file_size: u32,
}

impl Place {
    /// Makes the entry of the section `name` that lies here.
    fn section(&self, name: &str) -> Section {
        Section {
            name: padded(name),
            size: U32::new(self.size),
            address: U32::new(self.address),
            file_size: U32::new(self.file_size),
            file_offset: U32::new(self.file_offset),
            unused: [0; 12],
            flags: U32::new(READABLE_DATA),
        }
    }
}

impl Layout {
    /// Makes a layout that begins behind all contents of `image`, and checks that it has none of `sections` yet.
    fn behind(image: &[u8], headers: &Headers, sections: &[(&'static str, Source)]) -> Result<Self, PeError> {
        let mut layout = Self {
            address: headers.headers_bytes,
            file_offset: image.len() as u64,
            section_alignment: headers.section_alignment.max(PAGE_BYTES),
            file_alignment: headers.file_alignment,
            headers_end: headers.headers_bytes,
        };
        for index in 0..usize::from(headers.section_count) {
            let section: &Section = record(image, headers.section_table + index * SECTION_BYTES)?;
            let (size, address) = (u64::from(section.size), u64::from(section.address));
            let (file_size, file_offset) = (u64::from(section.file_size), u64::from(section.file_offset));
            if file_size > 0 && file_offset + file_size > image.len() as u64 {
                return Err(PeError::Invalid("a section lies outside of the file"));
            }
            if file_size > 0 {
                layout.headers_end = layout.headers_end.min(file_offset);
            }
            layout.address = layout.address.max(address + size.max(file_size));
            let is_same = |wanted: &&(&str, Source)| section.name == padded(wanted.0);
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

/// Returns the record at `offset`.
fn record<T: FromBytes + Immutable + KnownLayout + Unaligned>(bytes: &[u8], offset: usize) -> Result<&T, PeError> {
    let bytes = get_slice(bytes, offset, size_of::<T>())?;
    T::ref_from_bytes(bytes).map_err(|_| PeError::Invalid("cut short"))
}

/// Returns the record at `offset`, to be changed.
fn record_mut<T: FromBytes + IntoBytes + KnownLayout + Unaligned>(
    bytes: &mut [u8],
    offset: usize,
) -> Result<&mut T, PeError> {
    let rest = bytes.get_mut(offset..).ok_or(PeError::Invalid("cut short"))?;
    let (record, _) = T::mut_from_prefix(rest).map_err(|_| PeError::Invalid("cut short"))?;
    Ok(record)
}

/// Returns `name` as the section table has it; what is behind eight bytes is lost.
fn padded(name: &str) -> [u8; 8] {
    let mut padded = [0; 8];
    for (place, byte) in padded.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    padded
}
