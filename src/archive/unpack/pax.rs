//! PAX extended header records (POSIX.1-2018 pax, "pax Extended Header"): `LENGTH KEY=VALUE\n`.

use rustix::fs::Timespec;

/// What the records of one extended header say about the member behind it.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) size_bytes: Option<u64>,
    pub(super) modified: Option<Timespec>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: bool,
}

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// Parses a whole extended header; the error says what is wrong with it.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Records, String> {
    let mut records = Records::default();
    while !bytes.is_empty() {
        let (key, value, rest) = next(bytes).ok_or("it has a malformed extended header")?;
        bytes = rest;
        let bad = || format!("its extended header has a bad {:?}", String::from_utf8_lossy(key));
        match key {
            b"path" => records.path = Some(value.to_owned()),
            b"linkpath" => records.link_path = Some(value.to_owned()),
            b"uid" => records.uid = Some(decimal(value).ok_or_else(bad)?),
            b"gid" => records.gid = Some(decimal(value).ok_or_else(bad)?),
            b"size" => records.size_bytes = Some(decimal(value).ok_or_else(bad)?),
            b"mtime" => records.modified = Some(time(value).ok_or_else(bad)?),
            _ if key.starts_with(b"GNU.sparse.") => records.sparse = true,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                    let name = xattr_name(name);
                    if name.is_empty() || name.len() > 255 || name.contains(&0) {
                        return Err(bad());
                    }
                    records.xattrs.push((name, value.to_owned()));
                }
            }
        }
    }
    Ok(records)
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

/// `[-]SECONDS[.FRACTION]`; the fraction counts away from zero.
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

/// GNU tar writes `%` as `%25` and `=` as `%3D` in attribute names.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(records.xattrs, [(b"user.a=".to_vec(), b"x\ny".to_vec())]);
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
