//! Encodes tar headers: POSIX ustar, with a PAX extended header where a value does not fit (POSIX.1-2018 pax) and
//! `SCHILY.xattr.` records for extended attributes, as GNU tar, bsdtar and Python read them.

use crate::overlay::layer::Timestamp;

/// Size of a tar block in bytes.
pub(super) const TAR_BLOCK_BYTES: u64 = 512;
/// Length of the name and link name fields, in bytes.
const NAME_BYTES_MAX: usize = 100;
/// Largest number in seven octal digits.
const ID_MAX: u32 = 0o7_777_777;
/// Largest number in eleven octal digits.
const NUMBER_MAX: u64 = 0o77_777_777_777;

/// The values of a tar header.
#[derive(Debug)]
pub(super) struct TarEntry<'a> {
    /// `./etc/passwd`; a directory's ends in a slash.
    pub(super) name: &'a [u8],
    pub(super) kind: tar::EntryType,
    /// Symbolic link's target, or the first name of a hard-linked file.
    pub(super) link: &'a [u8],
    pub(super) permissions: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size_bytes: u64,
    pub(super) modified: Timestamp,
    pub(super) device: (u32, u32),
    pub(super) xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

impl TarEntry<'_> {
    /// Encodes the header blocks of this entry; the error says what does not fit.
    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(512);
        let records = self.pax_records();
        if !records.is_empty() {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::XHeader);
            header.set_mode(0o644);
            numbers(&mut header, 0, 0, records.len() as u64, 0);
            set_field(&mut header.as_old_mut().name, b"./PaxHeader");
            header.set_cksum();
            out.extend(header.as_bytes());
            out.extend(&records);
            pad(&mut out);
        }
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(self.kind);
        header.set_mode(self.permissions);
        let mtime = u64::try_from(self.modified.seconds).unwrap_or(0).min(NUMBER_MAX);
        numbers(&mut header, self.uid, self.gid, self.size_bytes, mtime);
        set_field(&mut header.as_old_mut().name, self.name);
        set_field(&mut header.as_old_mut().linkname, self.link);
        let (major, minor) = self.device;
        if major > ID_MAX || minor > ID_MAX {
            return Err(format!("device number {major}:{minor} does not fit a tar header"));
        }
        header.set_device_major(major).map_err(|error| error.to_string())?;
        header.set_device_minor(minor).map_err(|error| error.to_string())?;
        header.set_cksum();
        out.extend(header.as_bytes());
        Ok(out)
    }

    fn pax_records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        let long = |name: &[u8]| name.len() > NAME_BYTES_MAX;
        let names = [(&b"path"[..], self.name), (b"linkpath", self.link)];
        let names = names.into_iter().filter(|(_, name)| long(name));
        if names.clone().any(|(_, name)| std::str::from_utf8(name).is_err()) {
            record(&mut records, b"hdrcharset", b"BINARY");
        }
        for (key, name) in names {
            record(&mut records, key, name);
        }
        let numbers = [
            (&b"uid"[..], u64::from(self.uid), u64::from(ID_MAX)),
            (b"gid", self.gid.into(), ID_MAX.into()),
            (b"size", self.size_bytes, NUMBER_MAX),
        ];
        for (key, number, _) in numbers.into_iter().filter(|(_, number, max)| number > max) {
            record(&mut records, key, number.to_string().as_bytes());
        }
        if self.modified.nanoseconds != 0 || !(0..=NUMBER_MAX as i64).contains(&self.modified.seconds) {
            record(&mut records, b"mtime", decimal_time(self.modified).as_bytes());
        }
        for (name, value) in self.xattrs {
            let mut key = b"SCHILY.xattr.".to_vec();
            // As GNU tar does: a key ends at the first `=`.
            for byte in name {
                match byte {
                    b'%' => key.extend(b"%25"),
                    b'=' => key.extend(b"%3D"),
                    byte => key.push(*byte),
                }
            }
            record(&mut records, &key, value);
        }
        records
    }
}

/// Appends zeros up to the next block boundary.
pub(super) fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(TAR_BLOCK_BYTES as usize), 0);
}

/// Sets the numbers; those too large for their octal digits are in base 256, beside their PAX record.
fn numbers(header: &mut tar::Header, uid: u32, gid: u32, size_bytes: u64, mtime: u64) {
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_size(size_bytes);
    header.set_mtime(mtime);
}

fn set_field(field: &mut [u8; NAME_BYTES_MAX], value: &[u8]) {
    for (to, from) in field.iter_mut().zip(value) {
        *to = *from;
    }
}

/// Appends `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend(length.to_string().bytes());
    out.push(b' ');
    out.extend(key);
    out.push(b'=');
    out.extend(value);
    out.push(b'\n');
}

/// Formats seconds with a fraction that counts away from zero: -1.5 is half a second before -1.
fn decimal_time(time: Timestamp) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds < 0, time.nanoseconds) {
        (true, 0) => ("-", time.seconds.unsigned_abs(), 0),
        (true, ns) => (
            "-",
            time.seconds.unsigned_abs() - 1,
            1_000_000_000_u32.saturating_sub(ns),
        ),
        (false, ns) => ("", time.seconds.unsigned_abs(), ns),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_lengths_count_themselves() {
        for size in 0..2000 {
            let mut out = Vec::new();
            record(&mut out, b"path", &vec![b'a'; size]);
            let space = out.iter().position(|byte| *byte == b' ').unwrap();
            assert_eq!(std::str::from_utf8(&out[..space]).unwrap(), out.len().to_string());
        }
    }

    #[test]
    fn times_before_the_epoch() {
        let time = |seconds, nanoseconds| decimal_time(Timestamp { seconds, nanoseconds });
        assert_eq!(time(5, 0), "5");
        assert_eq!(time(5, 120_000_000), "5.12");
        assert_eq!(time(-2, 500_000_000), "-1.5");
        assert_eq!(time(-1, 500_000_000), "-0.5");
        assert_eq!(time(-3, 0), "-3");
    }
}
