//! YAML in one form, with its comments. The work is done by `pretty_yaml`; here it is proved that the text still says the
//! same.

use std::sync::Arc;

use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions};
use pretty_yaml::format_text;
use serde_saphyr::granit_parser::{Event, Options, Parser, options};

use super::{Finding, Findings, Node, Source, Value, parse};

/// Number of characters up to which a list or map in brackets stays on one line.
const WIDTH: usize = 100;
/// The most rounds after which the form must be its own form.
const ROUNDS_MAX: usize = 4;

/// Returns the text of `source` in the usual form: two spaces for each level, lists indented, one space around what
/// separates, no blanks at ends of lines, at most one empty line between others. Values and comments stay as they are, and
/// in their order; the form of the result is the result.
///
/// # Errors
/// What is wrong with the text, or that it cannot be formatted without a change of what it says.
pub fn format(source: &Arc<Source>) -> Result<String, Findings> {
    let mut findings = Findings::new();
    let tree = parse(source, &mut findings);
    let (Some(tree), false) = (tree, findings.has_errors()) else {
        return Err(findings);
    };
    let refused = |message: &str| Findings::from(Finding::without_position(&source.name, "", message));
    let formatted = settled(&source.text).ok_or_else(|| refused("this form of YAML cannot be formatted"))?;
    let again = Source::new(source.name.clone(), formatted);
    let same = parse(&again, &mut Findings::new()).is_some_and(|again| is_same(&tree, &again));
    match same && comments(&source.text) == comments(&again.text) {
        true => Ok(again.text.clone()),
        false => Err(refused(
            "this form of YAML cannot be formatted without a change of what it says",
        )),
    }
}

/// Formats `text` until that changes nothing; `None` if it does not come to this, or is no YAML to the formatter.
fn settled(text: &str) -> Option<String> {
    let options = FormatOptions {
        layout: LayoutOptions {
            print_width: WIDTH,
            ..LayoutOptions::default()
        },
        language: LanguageOptions {
            trailing_comma: false,
            ..LanguageOptions::default()
        },
    };
    let mut text = text.to_owned();
    for _ in 0..ROUNDS_MAX {
        let next = format_text(&text, &options).ok()?;
        if next == text {
            return Some(text);
        }
        text = next;
    }
    None
}

/// Lists the comments of `text` in their order; `None` if it is no YAML.
fn comments(text: &str) -> Option<Vec<String>> {
    let options: Options = options! { emit_comments: true };
    let mut comments = Vec::new();
    for event in Parser::new_from_str_with_options(text, options) {
        if let (Event::Comment(comment, _), _) = event.ok()? {
            comments.push(comment.trim().to_owned());
        }
    }
    Some(comments)
}

/// Says whether two trees have the same values, wherever these stand.
fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(one), Value::Bool(other)) => one == other,
        (Value::Int(one), Value::Int(other)) => one == other,
        (Value::Float(one), Value::Float(other)) => one.to_bits() == other.to_bits(),
        (Value::Text(one), Value::Text(other)) => one == other,
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Map(one), Value::Map(other)) => {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len()
                && pairs.all(|(one, other)| one.0.text == other.0.text && is_same(&one.1, &other.1))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn formatted(text: &str) -> String {
        format(&Source::new("t.yml", text)).unwrap_or_else(|findings| panic!("{findings}\n{text}"))
    }

    #[test]
    fn a_text_gets_the_usual_form() {
        let text = "# head\n\n\n\nimage:   {name: a,version: '1'}   # flow\nsystemConfig:\n      packages:\n      - vim     # an editor\n\n      # the last\n      -   'less'\n      kernel:\n          cmdline:    >-\n             quiet\n             splash\n";
        let expected = "# head\n\nimage: { name: a, version: \"1\" } # flow\nsystemConfig:\n  packages:\n    - vim # an editor\n\n    # the last\n    - \"less\"\n  kernel:\n    cmdline: >-\n      quiet\n      splash\n";
        assert_eq!(formatted(text), expected);
    }

    #[test]
    fn what_does_not_parse_is_refused() {
        for (text, expected) in [
            ("a: [", "not YAML"),
            ("a: 1\na: 2\n", "is there twice"),
            ("a: 1\n---\nb: 2\n", "second YAML document"),
            ("# nothing\n", "holds no YAML document"),
        ] {
            let findings = format(&Source::new("t.yml", text)).unwrap_err();
            assert!(findings.to_string().contains(expected), "{text}: {findings}");
        }
    }

    /// A value in some form: its lines, without the indentation of the place where it goes.
    type Lines = Vec<String>;

    fn scalar() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z][a-z0-9 ]{0,12}[a-z0-9]",
            "'[ -&(-~]{0,10}'",
            "\"[ !#-Z^-~]{0,10}\"",
            Just("1.10".to_owned()),
            Just("0x1F".to_owned()),
            Just("true".to_owned()),
            Just("~".to_owned()),
            Just("[a,  'b',{c: d}]".to_owned()),
            Just("{a: 1,b:   [2]}".to_owned()),
            Just("[]".to_owned()),
        ]
    }

    fn comment() -> impl Strategy<Value = Option<String>> {
        proptest::option::weighted(0.4, "#[ -~]{0,12}")
    }

    /// Lines of a block, each list and map with an indentation, empty lines and comments of its own.
    fn block() -> impl Strategy<Value = Lines> {
        let leaf = prop_oneof![
            (scalar(), comment()).prop_map(|(scalar, comment)| vec![trailing(&scalar, comment)]),
            ("[|>][-+]?", "[a-z# ]{1,8}", "[a-z:]{1,8}").prop_map(|(head, a, b)| vec![
                head,
                format!("  {}", a.trim()),
                String::new(),
                format!("  {b}")
            ]),
        ];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let entry = (inner, comment(), 0..3_usize);
            (prop::collection::vec(entry, 1..4), any::<bool>(), 1..5_usize)
                .prop_map(|(entries, is_list, width)| collection(entries, is_list, width))
        })
    }

    fn trailing(text: &str, comment: Option<String>) -> String {
        comment.map_or_else(|| text.to_owned(), |comment| format!("{text}  {comment}"))
    }

    fn collection(entries: Vec<(Lines, Option<String>, usize)>, is_list: bool, width: usize) -> Lines {
        let mut lines = Vec::new();
        for (number, (value, comment, empty)) in entries.into_iter().enumerate() {
            lines.extend(vec![String::new(); empty]);
            lines.extend(comment.clone());
            let head = if is_list { "-".to_owned() } else { format!("k{number}:") };
            let is_block = value
                .iter()
                .any(|line| line == "-" || line.starts_with("- ") || line.starts_with("k0:"))
                || value
                    .first()
                    .is_none_or(|first| first.starts_with('#') || first.is_empty());
            let mut rest = value.into_iter();
            match is_block {
                true => lines.push(head),
                false => lines.push(format!("{head} {}", rest.next().unwrap_or_default())),
            }
            let indent = " ".repeat(width);
            lines.extend(rest.map(|line| match line.is_empty() {
                true => line,
                false => format!("{indent}{line}"),
            }));
        }
        lines
    }

    proptest! {
        // Few texts may be refused.
        #![proptest_config(ProptestConfig { cases: 400, max_global_rejects: 80, ..ProptestConfig::default() })]

        /// The form says the same as the text, and is its own form.
        #[test]
        fn the_form_changes_nothing(lines in block()) {
            let text = lines.join("\n") + "\n";
            let source = Source::new("t.yml", text.clone());
            let mut findings = Findings::new();
            let tree = parse(&source, &mut findings);
            prop_assume!(tree.is_some() && !findings.has_errors());
            let once = format(&source);
            prop_assume!(once.is_ok());
            let once = once.unwrap_or_default();
            let again = parse(&Source::new("t.yml", once.clone()), &mut Findings::new()).unwrap();
            prop_assert!(is_same(&tree.unwrap(), &again), "{text}\n{once}");
            prop_assert_eq!(comments(&text).unwrap(), comments(&once).unwrap());
            prop_assert_eq!(formatted(&once), once);
        }
    }
}
