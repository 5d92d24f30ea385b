//! "Did you mean": the known word that is nearest to a mistyped one.

/// Longest word, in characters; longer ones are no typing errors, and comparing them costs time.
const MAX_CHARS: usize = 64;

/// Finds the word of `known` that is nearest to `word`, if one is near enough to be meant: at most one edit
/// (Levenshtein: an insertion, deletion or substitution) per three characters, letter case not counted.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = folded(word);
    let limit = word.chars().count().div_ceil(3).min(4);
    known
        .into_iter()
        .map(|candidate| (strsim::levenshtein(&word, &folded(candidate)), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Gives the start of `word` in lower case.
fn folded(word: &str) -> String {
    word.chars().take(MAX_CHARS).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["hostname", "packages", "kernel"];
        assert_eq!(did_you_mean("hostnam", known), Some("hostname"));
        assert_eq!(did_you_mean("Package", known), Some("packages"));
        assert_eq!(did_you_mean("HOSTNAEM", known), Some("hostname"));
        assert_eq!(did_you_mean("zzz", known), None);
        assert_eq!(did_you_mean(&"k".repeat(100_000), known), None);
    }
}
