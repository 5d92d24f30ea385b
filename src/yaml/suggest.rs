//! "Did you mean": the known word that is nearest to a mistyped one.

/// Words longer than this are no typing errors, and comparing them costs time.
const MAX_CHARS: usize = 64;

/// The word of `known` that is nearest to `word`, if one is near enough to be meant:
/// at most one edit per three characters, letter case not counted.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(MAX_CHARS).flat_map(char::to_lowercase).collect();
    let limit = word.len().div_ceil(3).min(4);
    known
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, deletions and substitutions, each counted as one.
fn distance(word: &[char], candidate: &str) -> usize {
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (i, c) in candidate
        .chars()
        .take(MAX_CHARS)
        .flat_map(char::to_lowercase)
        .enumerate()
    {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, w) in row.iter_mut().skip(1).zip(word) {
            let substituted = diagonal + usize::from(*w != c);
            diagonal = *cell;
            left = substituted.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(&a.chars().collect::<Vec<_>>(), b), edits, "{a} {b}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["hostname", "packages", "kernel"];
        assert_eq!(did_you_mean("hostnam", known), Some("hostname"));
        assert_eq!(did_you_mean("Package", known), Some("packages"));
        assert_eq!(did_you_mean("zzz", known), None);
    }
}
