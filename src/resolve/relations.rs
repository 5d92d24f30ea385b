//! The needs and exclusions of packages, whatever their format; parsed on first use.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::solver::PackageId;

/// One thing that a package needs, as its format has it.
pub(super) trait Need {
    /// Gives the relation as written.
    fn text(&self) -> &str;
    /// Says whether `package` is one of those that satisfy it.
    fn takes(&self, package: PackageId) -> bool;
    /// Says whether no package satisfies it.
    fn is_hopeless(&self) -> bool;
}

/// The packages that one relation of a package excludes.
#[derive(Debug)]
pub(super) struct Clash<'a> {
    /// The field's name.
    pub(super) field: &'static str,
    /// The relation as written.
    pub(super) text: &'a str,
    pub(super) packages: Vec<PackageId>,
}

/// The relations of one package. `N` is the type of a need in its format.
#[derive(Debug)]
pub(super) struct Relations<'a, N> {
    pub(super) needs: Vec<N>,
    /// What it recommends: it works without.
    pub(super) wishes: Vec<N>,
    pub(super) clashes: Vec<Clash<'a>>,
    /// The reason why one of them cannot be used; such a package is never installed.
    pub(super) malformed: Option<String>,
}

impl<N> Default for Relations<'_, N> {
    fn default() -> Self {
        Self {
            needs: Vec::new(),
            wishes: Vec::new(),
            clashes: Vec::new(),
            malformed: None,
        }
    }
}

impl<N> Relations<'_, N> {
    /// Returns all packages that this one excludes.
    pub(super) fn excluded(&self) -> impl Iterator<Item = PackageId> {
        self.clashes.iter().flat_map(|clash| clash.packages.iter().copied())
    }

    /// Returns the relation that excludes `other`, as `field: text`.
    pub(super) fn clash_with(&self, other: PackageId) -> Option<String> {
        let clash = self.clashes.iter().find(|clash| clash.packages.contains(&other))?;
        Some(format!("{}: {}", clash.field, clash.text))
    }
}

impl<N: Need> Relations<'_, N> {
    /// Gives the need that `needed` satisfies, as written.
    pub(super) fn need_text(&self, needed: PackageId) -> Option<String> {
        let need = self.needs.iter().find(|need| need.takes(needed))?;
        Some(need.text().to_owned())
    }

    /// Says in sentences why the package, which is called `full`, cannot be installed at all, and what it needs and no
    /// repository has; `known` adds to the text of a need what is available instead.
    pub(super) fn missing(&self, full: &str, known: impl Fn(&str) -> String) -> Vec<String> {
        let malformed = self.malformed.iter();
        let malformed = malformed.map(|malformed| format!("{full} cannot be installed: {malformed}"));
        let hopeless = self.needs.iter().filter(|need| need.is_hopeless());
        let hopeless = hopeless.map(|need| {
            let text = need.text();
            format!("{full} needs {text}, which no repository has{}", known(text))
        });
        malformed.chain(hopeless).collect()
    }
}

/// The relations parsed so far.
#[derive(Debug)]
pub(super) struct Parsed<'a, N>(RefCell<HashMap<PackageId, Rc<Relations<'a, N>>>>);

impl<N> Default for Parsed<'_, N> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<'a, N> Parsed<'a, N> {
    /// Returns the relations of `package`, from `parse` on first use.
    pub(super) fn get(&self, package: PackageId, parse: impl FnOnce() -> Relations<'a, N>) -> Rc<Relations<'a, N>> {
        if let Some(known) = self.0.borrow().get(&package) {
            return Rc::clone(known);
        }
        let parsed = Rc::new(parse());
        self.0.borrow_mut().insert(package, Rc::clone(&parsed));
        parsed
    }

    /// Removes all of them.
    pub(super) fn clear(&self) {
        self.0.take();
    }
}
