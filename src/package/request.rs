//! Texts that ask for packages.

/// Returns whether `text` asks for the package `name`: it is the name alone, or with a version or an architecture
/// behind it (`name=version`, `name:architecture`, and `name_version` of a `.deb`).
pub fn asks_for(text: &str, name: &str) -> bool {
    let rest = text.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['=', ':', '_']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_asks_for_its_name() {
        for text in ["vim", "vim=2:9.1", "vim:amd64", "vim_9.1-1_amd64"] {
            assert!(asks_for(text, "vim"), "{text}");
        }
        for text in ["vim-tiny", "vi", "-vim", ""] {
            assert!(!asks_for(text, "vim"), "{text}");
        }
    }
}
