//! WHAT to build: the template, merged over its provider's default and validated.
//!
//! Invariant: a [`Loaded`] was valid before and after the merge, and the same files always
//! merge to the same template.

mod additional;
mod buildable;
mod chain;
mod convert;
mod draft;
mod embedded;
mod files;
mod merge;
mod modes;
mod overrides;
mod print;
mod rules;
pub mod schema;
mod shown;
pub mod size;
mod source;
mod stated;
mod tree;
mod variables;

use std::path::Path;
use std::sync::Arc;

use crate::model::{ImageType, PackageSource, Template};
use crate::package::{Arch, asks_for};
use crate::provider::{DefaultTemplate, Provider, Providers};
use crate::words::Words;
use crate::yaml::schema::Field;
use crate::yaml::{self, EmitError, Finding, Findings, Node, Place};
use chain::Link;
use files::{Base, Origin, Origins};
use schema::{kernel, system, target, template};

pub use buildable::check_buildable;
pub use draft::{Draft, DraftUser};
pub use embedded::{Sample, plain, samples};
pub use overrides::Override;
pub use source::TemplateSource;
pub use variables::Variables;

/// A template that is ready to be built.
#[derive(Clone)]
pub struct Loaded {
    /// The merged template.
    pub template: Template,
    /// The provider that builds it.
    pub provider: Provider,
    /// The packages that the provider's default template names: most of its images have these in common.
    pub default_packages: Vec<String>,
    /// The packages that the template itself names.
    pub own_packages: Vec<String>,
    /// Warnings about it.
    pub warnings: Findings,
    /// The template over those that it extends.
    own: Node,
    merged: Node,
    /// Whether the template extends another one.
    extends: bool,
    origins: Origins,
    variables: Variables,
}

/// How much of a template [`Loaded::resolved`] gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The template over those that it extends.
    Chain,
    /// And over its provider's default.
    Full,
}

// The source and the tree hold passwords in clear text.
impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("template", &self.template)
            .field("provider", &self.provider.id())
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// Gives the merged template as YAML: fields in the order of the schema, files named so that they
    /// are found from anywhere. It validates again and merges to itself.
    ///
    /// # Errors
    /// [`EmitError`], which no loaded template causes.
    pub fn to_yaml(&self) -> Result<String, EmitError> {
        let portable = print::portable(&self.merged, &self.origins);
        yaml::to_yaml(&self.variables.escape(&portable))
    }

    /// Gives the template as YAML for people: as [`Self::to_yaml`], but no secret is in it. With `origin`, file and line
    /// stand behind each value.
    ///
    /// # Errors
    /// [`EmitError`], which no loaded template causes.
    pub fn resolved(&self, scope: Scope, origin: bool) -> Result<String, EmitError> {
        let tree = match scope {
            Scope::Chain => &self.own,
            Scope::Full => &self.merged,
        };
        shown::resolved(&self.variables.escape(&print::portable(tree, &self.origins)), origin)
    }

    /// Says whether the template extends another one.
    pub fn extends(&self) -> bool {
        self.extends
    }

    /// Finds the item of the merged template that asks for the package `name`.
    fn asking(&self, name: &str) -> Option<Place<'_>> {
        let system = Place::root(&self.merged).get(template::SYSTEM)?;
        let kernel = system.get(system::KERNEL);
        let of_kernel = kernel.iter().flat_map(|kernel| kernel.items(kernel::PACKAGES));
        let places: Vec<Place<'_>> = system.items(system::PACKAGES).chain(of_kernel).collect();
        let exact = places.iter().find(|place| place.node.text() == Some(name));
        let is_it = |place: &&Place<'_>| place.node.text().is_some_and(|text| asks_for(text, name));
        exact.or_else(|| places.iter().find(is_it)).cloned()
    }

    /// Says whether the package `name` is asked for by a template that this one extends, or by the default: so that this
    /// one can leave it out.
    pub fn is_inherited(&self, name: &str) -> bool {
        let own = self.origins.layers.first();
        let is_of = |place: &Place<'_>| own.is_none_or(|own| !Arc::ptr_eq(&own.source, place.node.span.source()));
        self.asking(name).as_ref().is_some_and(is_of)
    }

    /// Converts an entry of `packageRepositories[].packages` of the merged template.
    fn package_source(&self, entry: &Node) -> Option<PackageSource> {
        convert::package_source(entry, &self.origins)
    }

    /// Says, as file and line, what leaves out the package `name`; `None` if nothing does.
    pub fn left_out_by(&self, name: &str) -> Option<String> {
        let system = Place::root(&self.merged).get(template::SYSTEM)?;
        let mut places = system
            .items(system::PACKAGES)
            .chain(system.items(system::REMOVE_PACKAGES));
        let is_it = |place: &Place<'_>| {
            let text = place.node.text().unwrap_or_default();
            text.strip_prefix('-').unwrap_or(text) == name
        };
        places.find(is_it).map(|place| place.node.span.place())
    }

    /// Says, in words, what asks for the package `name`: a line of the template, its default, or the provider. `None` if
    /// nothing does by this name.
    pub fn asked_by(&self, name: &str) -> Option<String> {
        match self.asking(name) {
            Some(place) => {
                let (file, at) = (place.node.span.source(), place.node.span.place());
                let default = self.origins.default.as_ref();
                Some(
                    match default.is_some_and(|default| Arc::ptr_eq(file, &default.source)) {
                        true => format!("the default template of {} ({at})", self.provider),
                        false => at,
                    },
                )
            }
            None => {
                let is_base = self.provider.base_packages.iter().any(|base| asks_for(base, name));
                is_base.then(|| format!("the base packages of {}", self.provider))
            }
        }
    }

    /// Gives the name of the template's file, for messages.
    pub fn file(&self) -> &Path {
        let leaf = self.origins.layers.first();
        leaf.map_or(Path::new(""), |origin| &origin.source.name)
    }
}

/// Finds everything that is wrong with a template and those that it extends, without its provider's default.
pub fn validate(source: &TemplateSource, providers: &Providers, variables: &Variables) -> Findings {
    let mut findings = Findings::new();
    let chain = chain::read(source, providers, variables, &mut findings);
    if let Some(own) = fold(&chain) {
        rules::check_folded(&own, &mut findings);
        modes::check(&own, &origins(&chain, None), &mut findings);
    }
    findings
}

/// Reads a template, merges it over those that it extends and its provider's default, and validates each of them and the
/// result.
///
/// # Errors
/// All findings at once. A default template that is missing or broken is an error too.
pub fn load(source: &TemplateSource, providers: &Providers, variables: &Variables) -> Result<Loaded, Findings> {
    let mut findings = Findings::new();
    let chain = chain::read(source, providers, variables, &mut findings);
    let mut findings = findings.into_result()?;
    // A chain without errors has a tree.
    let own = fold(&chain).ok_or_else(Findings::new)?;

    rules::check_folded(&own, &mut findings);
    let provider = provider_of(&own, providers)?;
    // An image that is built on has what a default template would bring.
    let default = match rules::is_overlay(&own) {
        true => None,
        false => Some(default_of(&own, provider)?),
    };
    let default_tree = match default {
        Some(default) => Some(check_default(default, provider, providers, &mut findings)?),
        None => None,
    };
    let origins = origins(&chain, default);
    let mut merged = default_tree
        .as_ref()
        .map_or_else(|| own.clone(), |default| merge::merge(default, &own));
    let layers = origins.layers.iter().rev();
    let sources: Vec<_> = origins
        .default
        .iter()
        .chain(layers)
        .map(|origin| &origin.source)
        .collect();
    merge::complete(&mut merged, &sources, &mut findings);
    yaml::schema::validate(&merged, schema::TEMPLATE, &mut findings);
    rules::check_merged(&merged, providers, &mut findings);
    rules::check_packages(&merged, provider, &mut findings);
    rules::check_choice(&merged, provider, &mut findings);
    modes::check(&merged, &origins, &mut findings);
    let files = additional::Files {
        origins: &origins,
        variables,
        arch: provider.arch,
    };
    let template = convert::template(&merged, &files, &mut findings);
    let warnings = findings.into_result()?;
    let Some(template) = template else {
        let message = "the merged template is incomplete";
        return Err(Finding::error(&own.span, "", message).into());
    };
    Ok(Loaded {
        default_packages: packages_of_default(default_tree.as_ref(), &template.system.removed_packages),
        template,
        provider: provider.clone(),
        own_packages: own.read(template::SYSTEM).map_or_else(Vec::new, packages),
        warnings,
        own,
        merged,
        extends: chain.len() > 1,
        origins,
        variables: variables.clone(),
    })
}

/// Returns the packages that the default template asks for, without those with names in `removed`.
fn packages_of_default(default: Option<&Node>, removed: &[String]) -> Vec<String> {
    let system = default.and_then(|default| default.read(template::SYSTEM));
    let mut asked = system.map_or_else(Vec::new, packages);
    asked.retain(|asked| !removed.iter().any(|name| asks_for(asked, name)));
    asked
}

/// Returns the packages that `systemConfig` asks for.
fn packages(system: &Node) -> Vec<String> {
    let mut packages = system.read(system::PACKAGES);
    packages.retain(|text| !text.starts_with('-'));
    packages
}

/// Returns the names of the packages that `systemConfig` leaves out.
fn removed_packages(system: &Node) -> Vec<String> {
    let named = system.read(system::PACKAGES);
    let named = named
        .iter()
        .filter_map(|text| text.strip_prefix('-').map(str::to_owned));
    named.chain(system.read(system::REMOVE_PACKAGES)).collect()
}

/// Merges a chain, the template over those that it extends.
fn fold(chain: &[Link]) -> Option<Node> {
    let mut from_root = chain.iter().rev().map(|link| &link.root);
    let mut first = from_root.next()?.clone();
    first.remove(template::EXTENDS.name);
    Some(from_root.fold(first, |base, child| merge::merge(&base, child)))
}

/// Returns the files that a chain and a default template are.
fn origins(chain: &[Link], default: Option<&DefaultTemplate>) -> Origins {
    Origins {
        layers: chain.iter().map(|link| link.origin.clone()).collect(),
        default: default.map(|default| Origin {
            source: Arc::clone(&default.source),
            base: Base::Provider {
                overlay: default.overlay.clone(),
                directory: default.directory.clone(),
            },
        }),
    }
}

/// Reads and checks the default template of `provider`.
///
/// # Errors
/// Its findings, if one of them is an error.
fn check_default(
    default: &DefaultTemplate,
    provider: &Provider,
    providers: &Providers,
    findings: &mut Findings,
) -> Result<Node, Findings> {
    let mut own = Findings::new();
    let variables = Variables::of_arch(provider.arch);
    let mut tree = yaml::parse(&default.source, &mut own);
    if let Some(root) = &mut tree {
        chain::check(root, providers, &variables, &mut own);
    }
    if let Some(extends) = tree.as_ref().and_then(|tree| Place::root(tree).get(template::EXTENDS)) {
        own.push(extends.error("a default template stands at the root of every chain, and extends nothing"));
    }
    findings.extend(own.into_result()?);
    tree.ok_or_else(Findings::new)
}

/// Gives the provider of a valid template.
fn provider_of<'a>(own: &Node, providers: &'a Providers) -> Result<&'a Provider, Findings> {
    let root = Place::root(own);
    let target = root.at(template::TARGET);
    let word = |field: Field<str>| target.read(field).unwrap_or_default();
    let arch = target.read(target::ARCH).map_or("", Arch::as_str);
    let wanted = format!("{}-{}-{arch}", word(target::OS), word(target::DIST));
    providers.by_id(&wanted).map_err(|error| {
        let finding = target.error(error.to_string());
        Findings::from(match error.hint() {
            Some(hint) => finding.hint(hint.to_string()),
            None => finding,
        })
    })
}

/// Gives the default template of a valid template.
fn default_of<'a>(own: &Node, provider: &'a Provider) -> Result<&'a DefaultTemplate, Findings> {
    let target = Place::root(own).at(template::TARGET);
    let image_type = target.read(target::IMAGE_TYPE);
    let default = image_type.and_then(|image_type| provider.default_for(image_type));
    default.ok_or_else(|| {
        let word = image_type.map_or("", ImageType::word);
        let message = format!("{provider} has no default template for {word} images");
        Findings::from(
            target
                .at(target::IMAGE_TYPE)
                .error(message)
                .allowed(provider.defaults.iter().map(|default| default.image_type.word()))
                .hint("add one to the provider's defaults, see docs/providers.md"),
        )
    })
}
