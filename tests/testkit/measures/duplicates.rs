//! Runs of equal lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use oic_testkit::source::Text;

use super::{is_code, list, print};

/// Equal lines in a row that count.
const RUN: usize = 6;
/// Letters that such a run has at least, so that closing brackets and lists of names do not count.
const LETTERS_MIN: usize = 120;

/// Prints the measures of this module.
pub fn measure(texts: &[(PathBuf, Text)]) {
    let mut places: BTreeMap<Vec<&str>, Vec<(usize, usize)>> = BTreeMap::new();
    let lines: Vec<Vec<(usize, &str)>> = texts.iter().map(|(_, text)| lines(text)).collect();
    for (file, lines) in lines.iter().enumerate() {
        for (at, window) in lines.windows(RUN).enumerate() {
            let run: Vec<&str> = window.iter().map(|(_, line)| *line).collect();
            if run
                .iter()
                .map(|line| line.chars().filter(|c| c.is_alphabetic()).count())
                .sum::<usize>()
                >= LETTERS_MIN
            {
                places.entry(run).or_default().push((file, at));
            }
        }
    }
    let mut pairs = BTreeSet::new();
    for places in places.values() {
        for (index, one) in places.iter().enumerate() {
            pairs.extend(places[index + 1..].iter().map(|other| (*one, *other)));
        }
    }
    // A longer run is one pair: its windows follow one another.
    let first = pairs.iter().filter(|((a, i), (b, j))| {
        let before = i.checked_sub(1).zip(j.checked_sub(1));
        !before.is_some_and(|(i, j)| pairs.contains(&((*a, i), (*b, j))))
    });
    let place = |(file, at): (usize, usize)| format!("{}:{}", texts[file].0.display(), lines[file][at].0);
    let found: Vec<_> = first
        .map(|(one, other)| format!("{}~{}", place(*one), place(*other)))
        .collect();
    print("pairs of runs of six equal lines", list(&found));
}

/// The lines of code of a file, without imports and attributes, trimmed.
fn lines(text: &Text) -> Vec<(usize, &str)> {
    let code = text.lines.iter().filter(|(_, line)| is_code(line));
    let code = code.map(|(number, line)| (*number, line.trim()));
    code.filter(|(_, line)| !line.starts_with("use ") && !line.starts_with('#'))
        .collect()
}
