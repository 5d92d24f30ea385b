//! What packages need and exclude, whatever their format; parsed when it is first asked for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::solver::PackageId;

/// What a package cannot be together with, by one relation.
#[derive(Debug)]
pub(super) struct Clash<'a> {
    /// The field's name.
    pub(super) field: &'static str,
    /// The relation as written.
    pub(super) text: &'a str,
    pub(super) packages: Vec<PackageId>,
}

/// The relations of one package. `N` is a need as its format has it.
#[derive(Debug)]
pub(super) struct Relations<'a, N> {
    pub(super) needs: Vec<N>,
    pub(super) clashes: Vec<Clash<'a>>,
    /// Why one of them cannot be used; such a package is never installed.
    pub(super) malformed: Option<String>,
}

impl<N> Default for Relations<'_, N> {
    fn default() -> Self {
        Self {
            needs: Vec::new(),
            clashes: Vec::new(),
            malformed: None,
        }
    }
}

impl<N> Relations<'_, N> {
    /// All that the package cannot be together with.
    pub(super) fn excluded(&self) -> impl Iterator<Item = PackageId> {
        self.clashes.iter().flat_map(|clash| clash.packages.iter().copied())
    }

    /// The relation that excludes `other`, as `field: text`.
    pub(super) fn clash_with(&self, other: PackageId) -> Option<String> {
        let clash = self.clashes.iter().find(|clash| clash.packages.contains(&other))?;
        Some(format!("{}: {}", clash.field, clash.text))
    }
}

/// Relations that were parsed.
#[derive(Debug)]
pub(super) struct Parsed<'a, N>(RefCell<HashMap<PackageId, Rc<Relations<'a, N>>>>);

impl<N> Default for Parsed<'_, N> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<'a, N> Parsed<'a, N> {
    /// Those of `package`, from `parse` if they are not known yet.
    pub(super) fn get(&self, package: PackageId, parse: impl FnOnce() -> Relations<'a, N>) -> Rc<Relations<'a, N>> {
        if let Some(known) = self.0.borrow().get(&package) {
            return Rc::clone(known);
        }
        let parsed = Rc::new(parse());
        self.0.borrow_mut().insert(package, Rc::clone(&parsed));
        parsed
    }

    /// Forgets all of them.
    pub(super) fn clear(&self) {
        self.0.take();
    }
}
