//! What a path means: `crate`, `self` and `super`, names of child modules, and names that a `use` brings.

use super::Module;

/// More re-exports of one name behind another than any crate has.
const DEPTH_MAX: usize = 16;

/// Fills the imports of all modules.
pub(super) fn resolve(modules: &mut [Module]) {
    for module in modules {
        let mut names = Vec::new();
        for item in &module.items {
            if let syn::Item::Use(item) = item {
                flatten(&item.tree, &mut Vec::new(), &mut names);
            }
        }
        for (name, path) in names {
            let Some(path) = absolute(module, &path) else {
                continue;
            };
            match name {
                Some(name) => drop(module.aliases.insert(name, path)),
                None => module.globs.push(path),
            }
        }
    }
}

/// Lists what a `use` brings: names, or `None` for a glob, each with its path as written.
pub(super) fn flatten(tree: &syn::UseTree, before: &mut Vec<String>, names: &mut Vec<(Option<String>, Vec<String>)>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, names);
            before.pop();
        }
        syn::UseTree::Name(name) => names.push(named(before, &name.ident.to_string(), None)),
        syn::UseTree::Rename(name) => {
            names.push(named(before, &name.ident.to_string(), Some(name.rename.to_string())));
        }
        syn::UseTree::Glob(_) => names.push((None, before.clone())),
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, names);
            }
        }
    }
}

fn named(before: &[String], name: &str, renamed: Option<String>) -> (Option<String>, Vec<String>) {
    let mut path = before.to_vec();
    // `use a::{self}` brings `a`.
    if name != "self" {
        path.push(name.to_owned());
    }
    let last = path.last().cloned().unwrap_or_default();
    (Some(renamed.unwrap_or(last)), path)
}

/// Returns a path as written in `module` from the crate's root on; `None` for what is of another crate.
pub(super) fn absolute(module: &Module, path: &[String]) -> Option<Vec<String>> {
    let first = path.first()?;
    match first.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" if path.get(1).is_some_and(|next| next == "super") => absolute(module, &path[1..]),
        "self" => Some([&module.path, &path[1..]].concat()),
        "super" => {
            let supers = path.iter().take_while(|name| *name == "super").count();
            let up = module.path.len().checked_sub(supers)?;
            Some([&module.path[..up], &path[supers..]].concat())
        }
        name if module.children.contains_key(name) => Some([module.path.as_slice(), path].concat()),
        name => {
            let alias = module.aliases.get(name).filter(|alias| alias.as_slice() != path)?;
            Some([alias.as_slice(), &path[1..]].concat())
        }
    }
}

/// Returns the module in which the item at an absolute path is declared, through re-exports.
pub(super) fn find(modules: &[Module], path: &[String], depth: usize) -> Option<usize> {
    let mut current = 0;
    for (at, name) in path.iter().enumerate() {
        let module = &modules[current];
        if let Some(child) = module.children.get(name) {
            current = *child;
            continue;
        }
        if module.declared.contains(name) || depth > DEPTH_MAX {
            return Some(current);
        }
        let rest = &path[at + 1..];
        if let Some(alias) = module.aliases.get(name) {
            return find(modules, &[alias.as_slice(), rest].concat(), depth + 1);
        }
        let through = module.globs.iter().filter_map(|glob| find(modules, glob, depth + 1));
        let declares = |index: &usize| modules[*index].declared.contains(name);
        return Some(
            through
                .filter(|index| *index != current)
                .find(declares)
                .unwrap_or(current),
        );
    }
    Some(current)
}
