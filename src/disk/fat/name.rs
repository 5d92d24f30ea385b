//! Names on FAT, as they are shown.

use crate::image::fat::disk::LongEntry;
use crate::image::fat::name::{Short, UNITS_PER_ENTRY, checksum};

/// `DIR_NTRes`: the base, and the extension, are shown in lower case.
const LOWER_BASE: u8 = 0x08;
const LOWER_EXTENSION: u8 = 0x10;
/// The bit of the first entry of a long name, which has its end.
const LAST: u8 = 0x40;
/// The most entries of a long name: 255 units.
const ENTRIES_MAX: u8 = 20;
/// The characters from 0x80 on of code page 437, in which Linux reads short names.
const CODE_PAGE: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

fn character(byte: u8) -> char {
    match byte.checked_sub(0x80) {
        None => byte.into(),
        Some(index) => CODE_PAGE
            .chars()
            .nth(index.into())
            .unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// Returns a label, without the spaces behind it.
pub(super) fn label(short: &Short) -> String {
    let text: String = short.iter().map(|byte| character(*byte)).collect();
    text.trim_end().to_owned()
}

/// Returns a short name as it is shown; `cases` is `DIR_NTRes`.
pub(super) fn short(name: &Short, cases: u8) -> String {
    let mut name = *name;
    // Stands for the character that would mark a free entry.
    if name[0] == 0x05 {
        name[0] = 0xe5;
    }
    let part = |bytes: &[u8], is_lower: bool| -> String {
        let text: String = bytes.iter().map(|byte| character(*byte)).collect();
        let text = text.trim_end_matches(' ');
        if is_lower { text.to_lowercase() } else { text.to_owned() }
    };
    let base = part(&name[..8], cases & LOWER_BASE != 0);
    match part(&name[8..], cases & LOWER_EXTENSION != 0) {
        extension if extension.is_empty() => base,
        extension => format!("{base}.{extension}"),
    }
}

/// A long name that is being read: its entries stand before the short one, the last part first.
#[derive(Debug, Default)]
pub(super) struct Long {
    units: Vec<u16>,
    /// The order of the next entry; 0 if the name is complete.
    next: u8,
    checksum: u8,
}

impl Long {
    /// Adds an entry.
    pub(super) fn add(&mut self, entry: &LongEntry) {
        let order = entry.order & !LAST;
        if entry.order & LAST != 0 {
            *self = Self {
                units: Vec::new(),
                next: order,
                checksum: entry.checksum,
            };
        }
        let fits = order == self.next && entry.checksum == self.checksum && (1..=ENTRIES_MAX).contains(&order);
        if !fits {
            *self = Self::default();
            return;
        }
        let parts = entry.first.iter().chain(&entry.second).chain(&entry.third);
        let units: [u16; UNITS_PER_ENTRY] = {
            let mut units = [0; UNITS_PER_ENTRY];
            units
                .iter_mut()
                .zip(parts)
                .for_each(|(place, unit)| *place = unit.get());
            units
        };
        self.units.splice(0..0, units);
        self.next -= 1;
    }

    /// Returns the name, if it is complete and belongs to the short one.
    pub(super) fn take(&mut self, short: &Short) -> Option<String> {
        let long = std::mem::take(self);
        if long.units.is_empty() || long.next != 0 || long.checksum != checksum(short) {
            return None;
        }
        let units = long.units.into_iter().take_while(|unit| *unit != 0);
        let name = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
        Some(name.collect())
    }
}
