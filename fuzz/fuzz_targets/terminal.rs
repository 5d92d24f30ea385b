//! Text from outside on its way to a terminal or into JSON.
//!
//! Invariant: what is shown has no hidden character but line ends and tabs, and JSON keeps its meaning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oic::terminal::{is_hidden, visible, visible_json};

fuzz_target!(|text: &str| {
    let shown = visible(text);
    assert!(!shown.contains(|c| is_hidden(c) && !matches!(c, '\n' | '\t')));
    let json = serde_json::to_string(text).unwrap();
    let shown = visible_json(&json);
    assert!(!shown.contains(is_hidden));
    assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
});
