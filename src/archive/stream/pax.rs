//! PAX extended header records (POSIX.1-2018 pax, "pax Extended Header"): `LENGTH KEY=VALUE\n`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustix::fs::Timespec;

use super::{acl, sparse};

/// The values that the records of one extended header set for the member behind it.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) size_bytes: Option<u64>,
    pub(super) modified: Option<Timespec>,
    /// Extended attributes. A header can hold very many.
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The text of lists that have no number for an account, or are malformed, by the attribute's name.
    pub(super) acl_texts: BTreeMap<&'static str, Vec<u8>>,
    pub(super) sparse: sparse::Records,
}

/// Prefix of raw attributes, as star, GNU tar and bsdtar store them.
const SCHILY_XATTR: &[u8] = b"SCHILY.xattr.";
/// Prefix of the form that libarchive adds: name percent-encoded, value in base 64 without padding.
const LIBARCHIVE_XATTR: &[u8] = b"LIBARCHIVE.xattr.";
const GNU_SPARSE: &[u8] = b"GNU.sparse.";

/// Parses a whole extended header, whose records override `records`; the error describes what is wrong with it.
pub(super) fn parse(mut bytes: &[u8], mut records: Records) -> Result<Records, String> {
    while !bytes.is_empty() {
        let (key, value, rest) = next(bytes).ok_or("it has a malformed extended header")?;
        bytes = rest;
        if records.take(key, value).is_none() {
            return Err(format!(
                "its extended header has a bad {:?}",
                String::from_utf8_lossy(key)
            ));
        }
    }
    Ok(records)
}

impl Records {
    /// Applies one record; `None` if its value is bad. An empty value removes an earlier one.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let given = !value.is_empty();
        match key {
            b"path" => self.path = given.then(|| value.to_owned()),
            b"linkpath" => self.link_path = given.then(|| value.to_owned()),
            b"uid" => self.uid = unless_empty(value, decimal)?,
            b"gid" => self.gid = unless_empty(value, decimal)?,
            b"size" => self.size_bytes = unless_empty(value, decimal)?,
            b"SCHILY.acl.access" => self.acl(acl::ACCESS, value),
            b"SCHILY.acl.default" => self.acl(acl::DEFAULT, value),
            b"mtime" => self.modified = unless_empty(value, time)?,
            _ => {
                if let Some(key) = key.strip_prefix(GNU_SPARSE) {
                    self.sparse.take(key, value)?;
                } else if let Some(name) = key.strip_prefix(SCHILY_XATTR) {
                    self.xattr(xattr_name(name), value.to_owned(), true)?;
                } else if let Some(name) = key.strip_prefix(LIBARCHIVE_XATTR) {
                    let value = value.strip_suffix(b"==").or(value.strip_suffix(b"=")).unwrap_or(value);
                    self.xattr(percent_decoded(name)?, STANDARD_NO_PAD.decode(value).ok()?, false)?;
                }
            }
        }
        Some(())
    }

    /// Takes a list in text form; it replaces the attribute.
    fn acl(&mut self, attribute: &'static str, text: &[u8]) {
        self.acl_texts.remove(attribute);
        self.xattrs.remove(attribute.as_bytes());
        match acl::from_text(text, &|_, _| None) {
            _ if text.is_empty() => {}
            Some(value) => drop(self.xattrs.insert(attribute.into(), value)),
            None => drop(self.acl_texts.insert(attribute, text.to_owned())),
        }
    }

    /// Adds an attribute. If an archive has both forms of it, the `preferred` (raw) one wins.
    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>, preferred: bool) -> Option<()> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return None;
        }
        if preferred || !self.xattrs.contains_key(&name) {
            self.xattrs.insert(name, value);
        }
        Some(())
    }
}

fn unless_empty<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    match value {
        [] => Some(None),
        value => parse(value).map(Some),
    }
}

fn next(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = decimal(bytes.get(..space)?)?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((record.get(..equals)?, record.get(equals + 1..)?, bytes.get(length..)?))
}

fn decimal<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.starts_with('+') {
        return None;
    }
    digits.parse().ok()
}

/// Parses `[-]SECONDS[.FRACTION]`; the fraction counts away from zero.
fn time(value: &[u8]) -> Option<Timespec> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = value.iter().position(|byte| *byte == b'.');
    let (seconds, fraction) = match dot {
        Some(dot) => (value.get(..dot)?, value.get(dot + 1..)?),
        None => (value, &[][..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(decimal::<u64>(seconds)?).ok()?;
    let nanoseconds = (0..9).fold(0, |sum, place| {
        sum * 10 + i64::from(fraction.get(place).map_or(0, |digit| digit - b'0'))
    });
    let (tv_sec, tv_nsec) = match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    };
    Some(Timespec { tv_sec, tv_nsec })
}

/// Decodes an attribute name of GNU tar, which writes `%` as `%25` and `=` as `%3D`.
fn xattr_name(mut encoded: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(encoded.len());
    while let Some((byte, rest)) = encoded.split_first() {
        let (byte, rest) = match (byte, rest.get(..2), rest.get(2..)) {
            (b'%', Some(b"3D"), Some(rest)) => (b'=', rest),
            (b'%', Some(b"25"), Some(rest)) => (b'%', rest),
            _ => (*byte, rest),
        };
        name.push(byte);
        encoded = rest;
    }
    name
}

/// Decodes percent-encoding: `%41` is `A`.
fn percent_decoded(mut encoded: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(encoded.len());
    while let Some((byte, rest)) = encoded.split_first() {
        encoded = rest;
        if *byte == b'%' {
            let (digits, rest) = rest.split_at_checked(2)?;
            name.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            encoded = rest;
        } else {
            name.push(*byte);
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Records, String> {
        super::parse(bytes, Records::default())
    }

    fn record(rest: &str) -> String {
        let length = rest.len() + 4;
        assert!((10..100).contains(&length));
        format!("{length} {rest}\n")
    }

    #[test]
    fn records_of_every_kind() {
        let text = [
            "path=a\nbcd",
            "mtime=-1.5000000",
            "uid=65534",
            "SCHILY.xattr.user.a%3D=x\ny",
        ]
        .map(record);
        let records = parse(text.concat().as_bytes()).unwrap();
        assert_eq!(records.path.unwrap(), b"a\nbcd");
        assert_eq!(records.uid, Some(65534));
        let modified = records.modified.unwrap();
        assert_eq!((modified.tv_sec, modified.tv_nsec), (-2, 500_000_000));
        assert_eq!(records.xattrs, [(b"user.a=".to_vec(), b"x\ny".to_vec())].into());
    }

    #[test]
    fn attributes_in_both_forms() {
        let text = [
            "LIBARCHIVE.xattr.user.a%2Bb=AAEC/w",
            "SCHILY.xattr.user.c=raw",
            "LIBARCHIVE.xattr.user.c=AAEC",
        ]
        .map(record);
        let records = parse(text.concat().as_bytes()).unwrap();
        let expected = [
            (b"user.a+b".to_vec(), vec![0, 1, 2, 255]),
            (b"user.c".to_vec(), b"raw".to_vec()),
        ];
        assert_eq!(records.xattrs, expected.into());
        assert!(parse(record("LIBARCHIVE.xattr.user.c=!!!!").as_bytes()).is_err());
        assert!(parse(record("LIBARCHIVE.xattr.user.%zz=AAEC").as_bytes()).is_err());
    }

    #[test]
    fn later_headers_override_global_ones() {
        let global = parse([record("mtime=1700000000"), record("uid=655340")].concat().as_bytes()).unwrap();
        let own = super::parse([record("uid=123456"), record("mtime=")].concat().as_bytes(), global).unwrap();
        assert_eq!((own.uid, own.modified), (Some(123_456), None));
    }

    #[test]
    fn refuses_what_does_not_add_up() {
        for bad in [
            "8 path=a\n",
            "99 path=a\n",
            "path=a\n",
            "0 \n",
            "18446744073709551616 path=a\n",
            "10 pathab\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for bad in [
            "uid=-5534",
            "uid=655x4",
            "uid=+6554",
            "mtime=1.2.3.4",
            "mtime=1e9",
            "SCHILY.xattr.=a",
        ] {
            assert!(parse(record(bad).as_bytes()).is_err(), "{bad:?}");
        }
    }
}
