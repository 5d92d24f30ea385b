//! The packages of a request that come with what they recommend.

use crate::package::{asks_for, glob};

use super::key::Asked;

/// Divides the packages of an image into those that come with what they recommend, which are to be asked for first, and
/// the others. Where all do, packages of the `base` do not: they are there already, as for apt.
pub(super) fn divide<'a>(
    asked: &Asked<'_>,
    base: &[String],
    packages: impl Iterator<Item = &'a String>,
) -> (Vec<String>, Vec<String>) {
    let is_named = |text: &String| {
        let mut names = asked.recommends_of.iter();
        names.any(|name| asks_for(text, name) || (glob::is_pattern(text) && glob::matches(text, name)))
    };
    packages
        .cloned()
        .partition(|text| is_named(text) || (asked.recommends && !base.contains(text)))
}
