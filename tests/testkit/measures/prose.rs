//! The English of comments and messages.

use std::path::PathBuf;

use oic_testkit::source::{self, Source, Text};
use syn::visit::Visit;

use super::print;

/// Words that end as a verb of the third person does, and are none at the start of a sentence.
const NO_VERBS: &[&str] = &[
    "This", "Its", "As", "Whereas", "Always", "Perhaps", "Bytes", "Names", "Files", "Packages",
];

/// Prints the measures of this module.
pub fn measure(source: &Source, texts: &[(PathBuf, Text)]) {
    let (mut words, mut todo) = (Vec::new(), 0);
    for (_, text) in texts {
        for (_, line) in &text.lines {
            todo += usize::from(line.contains("TODO") || line.contains("FIXME"));
            if line.trim_start().starts_with("//") || line.contains('"') {
                words.extend(
                    line.split(|c: char| !c.is_alphanumeric() && c != '\'')
                        .filter(|word| !word.is_empty())
                        .map(str::to_lowercase),
                );
            }
        }
    }
    let count = |word: &str| words.iter().filter(|other| *other == word).count();
    print("TODO, FIXME", todo);
    for word in ["whoever", "nobody", "somebody", "whatever"] {
        print(&format!("\"{word}\""), count(word));
    }
    let is_verb = |word: &str| word.len() > 2 && word.ends_with('s') && !word.ends_with("ss");
    let who = words
        .windows(2)
        .filter(|pair| pair[0] == "who" && is_verb(&pair[1]))
        .count();
    print("\"who\" before a verb", who);
    let pairs = |one: &str, other: &str| {
        words
            .windows(2)
            .filter(|pair| pair[0] == one && pair[1] == other)
            .count()
    };
    print(
        "\"told of\", \"of which\"",
        format!("{}, {}", pairs("told", "of"), pairs("of", "which")),
    );
    let mut docs = Docs::default();
    for module in source.modules() {
        module.items().iter().for_each(|item| docs.visit_item(item));
    }
    let with = |start: &str| docs.0.iter().filter(|word| *word == start).count();
    let verbs = docs
        .0
        .iter()
        .filter(|word| is_verb(word) && !NO_VERBS.contains(&word.as_str()))
        .count();
    print("docs of functions", docs.0.len());
    print(
        "of these begin with a verb",
        format!("{verbs} ({} %)", verbs * 100 / docs.0.len().max(1)),
    );
    for start in ["The", "What", "Whether"] {
        print(&format!("of these begin with \"{start}\""), with(start));
    }
}

/// The first words of the documentation of functions.
#[derive(Default)]
struct Docs(Vec<String>);

impl Docs {
    fn add(&mut self, attributes: &[syn::Attribute]) {
        let text = attributes.iter().find_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(text),
                    ..
                }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        });
        let word = text.as_deref().and_then(|text| text.split_whitespace().next());
        self.0
            .extend(word.map(|word| word.trim_end_matches([',', ':', '.']).to_owned()));
    }
}

impl<'ast> Visit<'ast> for Docs {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !source::is_test(source::attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.attrs);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !source::is_test(&item.attrs) {
            self.add(&item.attrs);
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.add(&item.attrs);
        syn::visit::visit_trait_item_fn(self, item);
    }
}
