//! A door for `fuzz/` to a parser of the image's text files that is private.

use super::presets;

/// Counts the patterns of units in `text`, a preset file of systemd (systemd.preset(5)).
pub fn presets(text: &str) -> usize {
    presets::named(text).len()
}
