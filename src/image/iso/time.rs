//! Times as ISO 9660 writes them.

use crate::date;

/// Returns the time of a record (ECMA-119, 9.1.5): years since 1900 to seconds, and the offset from UTC.
pub(super) fn record_time(epoch_seconds: u64) -> [u8; 7] {
    let time = date::civil(i64::try_from(epoch_seconds).unwrap_or(i64::MAX));
    let year = u8::try_from((time.year() - 1900).clamp(0, 255)).unwrap_or_default();
    let parts = [time.month(), time.day(), time.hour(), time.minute(), time.second()];
    let [month, day, hour, minute, second] = parts.map(i8::cast_unsigned);
    [year, month, day, hour, minute, second, 0]
}

/// Returns the time of a descriptor (ECMA-119, 8.4.26.1): digits, and the offset from UTC.
pub(super) fn long_time(epoch_seconds: u64) -> Vec<u8> {
    let time = date::civil(i64::try_from(epoch_seconds).unwrap_or(i64::MAX));
    let mut bytes = time.strftime("%Y%m%d%H%M%S00").to_string().into_bytes();
    bytes.truncate(16);
    bytes.push(0);
    bytes
}

/// Stands for no time.
pub(super) fn no_time() -> Vec<u8> {
    let mut bytes = vec![b'0'; 16];
    bytes.push(0);
    bytes
}

/// Returns the time of a medium as GRUB and blkid(8) take it for its UUID.
pub fn modified(epoch_seconds: u64) -> String {
    let time = date::civil(i64::try_from(epoch_seconds).unwrap_or(i64::MAX));
    time.strftime("%Y-%m-%d-%H-%M-%S-00").to_string()
}
