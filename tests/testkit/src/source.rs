//! The source of a crate as its modules: where each lies, what is test code, which uses which.
//!
//! Files are parsed, so that nothing behind a `#[cfg(test)]` is overlooked and nothing inside one is counted.

mod imports;
mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned as _;

/// The modules of a crate that are no test code.
#[derive(Debug)]
pub struct Source {
    modules: Vec<Module>,
}

/// A module with the file that it is in; an inline module is in the file of the one around it.
#[derive(Debug)]
pub struct Module {
    /// The names that lead to it from the crate's root, which has none.
    pub path: Vec<String>,
    /// Its file, relative to the directory of sources.
    pub file: PathBuf,
    items: Vec<syn::Item>,
    children: BTreeMap<String, usize>,
    /// Names that it imports, each with the whole path behind it.
    aliases: BTreeMap<String, Vec<String>>,
    /// Paths of which it imports everything.
    globs: Vec<Vec<String>>,
    declared: BTreeSet<String>,
}

/// Text of a file, apart from its test code.
#[derive(Debug)]
pub struct Text {
    /// The lines, each with its number; those of test code are left out.
    pub lines: Vec<(usize, String)>,
    /// The number of lines of test code.
    pub test_lines: usize,
}

impl Module {
    /// Returns the items that are neither modules nor test code.
    pub fn items(&self) -> &[syn::Item] {
        &self.items
    }
}

impl Source {
    /// Reads the library below `directory`, from its `lib.rs` on.
    pub fn read(directory: &Path) -> Self {
        let mut source = Self { modules: Vec::new() };
        source.add(directory, Vec::new(), PathBuf::from("lib.rs"), None);
        imports::resolve(&mut source.modules);
        source
    }

    /// Returns all modules, the crate's root first.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Returns the files that are no test code.
    pub fn files(&self) -> BTreeSet<&Path> {
        self.modules.iter().map(|module| module.file.as_path()).collect()
    }

    /// Returns what `module` uses, as the paths of modules, each with its file.
    pub fn used_by(&self, module: &Module) -> BTreeSet<(&[String], &Path)> {
        let mut paths = uses::paths(&module.items);
        paths.extend(
            module
                .aliases
                .values()
                .cloned()
                .map(|path| [vec!["crate".to_owned()], path].concat()),
        );
        paths.extend(
            module
                .globs
                .iter()
                .cloned()
                .map(|path| [vec!["crate".to_owned()], path].concat()),
        );
        let found = paths.iter().filter_map(|path| imports::absolute(module, path));
        let found = found.filter_map(|path| imports::find(&self.modules, &path, 0));
        let found = found.map(|index| (self.modules[index].path.as_slice(), self.modules[index].file.as_path()));
        found.filter(|(_, file)| *file != module.file).collect()
    }

    /// Returns the circles: modules of one parent of which each leads to the next one, by their paths.
    ///
    /// A module with its whole subtree counts as one; uses of the parent are no part of a circle, since a parent
    /// declares what its children share.
    pub fn circles(&self) -> Vec<Vec<String>> {
        let mut edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
        for module in &self.modules {
            for (used, _) in self.used_by(module) {
                let common = module
                    .path
                    .iter()
                    .zip(used)
                    .take_while(|(one, other)| one == other)
                    .count();
                if common < module.path.len() && common < used.len() && common > 0 {
                    let (from, to) = (module.path[..=common].to_vec(), used[..=common].to_vec());
                    edges.entry(from).or_default().insert(to);
                }
            }
        }
        circles(&edges)
    }

    fn add(&mut self, directory: &Path, path: Vec<String>, file: PathBuf, inline: Option<Vec<syn::Item>>) -> usize {
        let items = inline.unwrap_or_else(|| parse(&directory.join(&file)).items);
        let items: Vec<_> = items.into_iter().filter(|item| !is_test(attributes(item))).collect();
        let index = self.modules.len();
        self.modules.push(Module {
            path: path.clone(),
            file: file.clone(),
            items: Vec::new(),
            children: BTreeMap::new(),
            aliases: BTreeMap::new(),
            globs: Vec::new(),
            declared: items.iter().filter_map(name).collect(),
        });
        let mut rest = Vec::new();
        for item in items {
            let syn::Item::Mod(child) = item else {
                rest.push(item);
                continue;
            };
            let name = child.ident.to_string();
            let path = [path.as_slice(), std::slice::from_ref(&name)].concat();
            let below = match child.content {
                Some((_, items)) => self.add(directory, path, file.clone(), Some(items)),
                None => {
                    let file = PathBuf::from(path.join("/")).with_extension("rs");
                    self.add(directory, path, file, None)
                }
            };
            self.modules[index].children.insert(name, below);
        }
        self.modules[index].items = rest;
        index
    }
}

/// Returns the groups of nodes that lead to each other, each sorted.
fn circles(edges: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> Vec<Vec<String>> {
    let reached = |from: &Vec<String>| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(node) = open.pop() {
            for next in edges.get(node).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let reach: BTreeMap<_, _> = edges.keys().map(|node| (node, reached(node))).collect();
    let mut found = BTreeSet::new();
    for (node, seen) in &reach {
        let circle = seen
            .iter()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(*node)));
        let circle: Vec<_> = circle.map(|path| path.join("::")).collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

/// Parses a file of Rust; panics if it is none.
pub fn parse(path: &Path) -> syn::File {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns whether attributes make their item test code: `#[test]`, or a `#[cfg(…)]` that needs `test`.
pub fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return attribute.path().is_ident("test");
        };
        let words = list.tokens.to_string();
        list.path.is_ident("cfg")
            && !words.contains("not (test)")
            && words.split(|c: char| !c.is_alphanumeric()).any(|word| word == "test")
    })
}

/// Returns the text of a file without its comments' share of test code.
pub fn text(path: &Path) -> Text {
    let whole = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut test = BTreeSet::new();
    collect_test_lines(&parse(path).items, &mut test);
    let lines = (1..).zip(whole.lines().map(str::to_owned));
    let (inside, outside): (Vec<_>, Vec<_>) = lines.partition(|(number, _)| test.contains(number));
    Text {
        lines: outside,
        test_lines: inside.len(),
    }
}

fn collect_test_lines(items: &[syn::Item], lines: &mut BTreeSet<usize>) {
    for item in items {
        if is_test(attributes(item)) {
            let first = attributes(item)
                .iter()
                .map(|attribute| attribute.span().start().line)
                .min();
            let span = item.span();
            lines.extend(first.unwrap_or(usize::MAX).min(span.start().line)..=span.end().line);
        } else if let syn::Item::Mod(module) = item {
            collect_test_lines(module.content.as_ref().map_or(&[], |(_, items)| items), lines);
        }
    }
}

/// Returns the attributes of an item.
pub fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::ExternCrate(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::ForeignMod(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Union(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns the name that an item declares.
fn name(item: &syn::Item) -> Option<String> {
    let ident = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
