//! WHAT to build: the template, merged over its provider's default and validated.
//!
//! Invariant: a [`Loaded`] was valid before and after the merge, and the same files always
//! merge to the same template.

mod buildable;
mod convert;
mod embedded;
mod merge;
pub mod model;
mod print;
mod rules;
pub mod schema;
pub mod size;
mod variables;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::provider::{DefaultTemplate, Provider, Providers};
use crate::yaml::{self, EmitError, Finding, Findings, Node, Source, did_you_mean, parse, read_source};
use convert::{Base, Bases};
use model::{ImageType, Template};

pub use buildable::check_buildable;
pub use embedded::{Sample, samples};
pub use variables::Variables;

/// Where a template comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateSource {
    /// A file.
    File(PathBuf),
    /// A template that comes with oic.
    Sample(Sample),
}

impl TemplateSource {
    /// What a user's argument means: the file of that name or, if there is none, the sample.
    ///
    /// # Errors
    /// A finding that lists the samples if it is neither.
    pub fn named(argument: &OsStr) -> Result<Self, Findings> {
        let path = Path::new(argument);
        if path.symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
            return Ok(Self::File(path.to_owned()));
        }
        let name = argument.to_string_lossy();
        let samples = samples();
        if let Some(sample) = samples.iter().find(|sample| sample.name == name) {
            return Ok(Self::Sample(*sample));
        }
        let message = "there is no file of this name, and no sample template either";
        let names = samples.iter().map(|sample| sample.name);
        let finding = Finding::without_position(path, "", message).allowed(names.clone());
        let hint = did_you_mean(&name, names).map(|near| format!("did you mean {near}?"));
        let hint = hint.unwrap_or_else(|| "give a .yml file, or one of these samples by its name".to_owned());
        Err(finding.hint(hint).into())
    }

    fn read(&self) -> Result<Arc<Source>, Findings> {
        match self {
            Self::File(path) => read_source(path),
            Self::Sample(sample) => Ok(sample.source()),
        }
    }

    fn base(&self) -> Base {
        match self {
            Self::File(path) => {
                // A name without a directory lies in the current one, whose parent is "".
                let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                Base::Directory(absolute.parent().map_or_else(PathBuf::new, Path::to_owned))
            }
            Self::Sample(_) => Base::Provider {
                overlay: None,
                directory: embedded::SAMPLES.to_owned(),
            },
        }
    }
}

/// A template that is ready to be built.
#[derive(Clone)]
pub struct Loaded {
    /// The merged template.
    pub template: Template,
    /// What builds it.
    pub provider: Provider,
    /// What the provider's default template asks for by name: most of its images have these in common.
    pub default_packages: Vec<String>,
    /// What is odd about it.
    pub warnings: Findings,
    source: Arc<Source>,
    base: Base,
    default_base: Base,
    merged: Node,
    variables: Variables,
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
    /// The user's template as it was read.
    pub fn user_text(&self) -> &str {
        &self.source.text
    }

    /// The merged template as YAML: fields in the order of the schema, files named so that they
    /// are found from anywhere. It validates again and merges to itself.
    ///
    /// # Errors
    /// [`EmitError`], which no loaded template causes.
    pub fn to_yaml(&self) -> Result<String, EmitError> {
        let portable = print::portable(&self.merged, &self.bases());
        yaml::to_yaml(&self.variables.escape(&portable))
    }

    fn bases(&self) -> Bases<'_> {
        Bases {
            user_source: &self.source,
            user: &self.base,
            default: &self.default_base,
        }
    }
}

/// Everything that is wrong with a template by itself, without its provider's default.
pub fn validate(source: &TemplateSource, providers: &Providers, variables: &Variables) -> Findings {
    let mut findings = Findings::new();
    match source.read() {
        Ok(text) => drop(check(&text, providers, variables, &mut findings)),
        Err(unreadable) => findings.extend(unreadable),
    }
    findings
}

/// Reads a template, merges it over its provider's default, and validates both and the result.
///
/// # Errors
/// All findings at once. A default template that is missing or broken is an error too.
pub fn load(source: &TemplateSource, providers: &Providers, variables: &Variables) -> Result<Loaded, Findings> {
    let text = source.read()?;
    let mut findings = Findings::new();
    let user = check(&text, providers, variables, &mut findings);
    let mut findings = findings.into_result()?;
    // Without errors there is a tree.
    let user = user.ok_or_else(Findings::new)?;

    let (provider, default) = provider_of(&user, providers)?;
    let mut default_findings = Findings::new();
    let arch_variables = Variables::of_arch(provider.arch);
    let default_tree = check(&default.source, providers, &arch_variables, &mut default_findings);
    findings.extend(default_findings.into_result()?);
    let default_tree = default_tree.ok_or_else(Findings::new)?;
    let default_packages = default_tree
        .at(&["systemConfig", "packages"])
        .map_or(&[][..], Node::items);

    let merged = merge::merge(&default_tree, &user, &text, &mut findings);
    yaml::schema::validate(&merged, schema::TEMPLATE, &mut findings);
    rules::check_merged(&merged, providers, &mut findings);
    let default_base = Base::Provider {
        overlay: default.overlay.clone(),
        directory: default.directory.clone(),
    };
    let base = source.base();
    let bases = Bases {
        user_source: &text,
        user: &base,
        default: &default_base,
    };
    let template = convert::template(&merged, &bases, &mut findings);
    let warnings = findings.into_result()?;
    let Some(template) = template else {
        let message = "the merged template is incomplete";
        return Err(Finding::without_position(&text.name, "", message).into());
    };
    Ok(Loaded {
        template,
        provider: provider.clone(),
        default_packages: default_packages
            .iter()
            .filter_map(Node::text)
            .map(str::to_owned)
            .collect(),
        warnings,
        source: text,
        base,
        default_base,
        merged,
        variables: variables.clone(),
    })
}

/// Parses one template, puts variables in, and checks it.
fn check(source: &Arc<Source>, providers: &Providers, variables: &Variables, findings: &mut Findings) -> Option<Node> {
    let mut root = parse(source, findings)?;
    let mut unset = Findings::new();
    variables.substitute(&mut root, &mut unset);
    let mut others = Findings::new();
    yaml::schema::validate(&root, schema::TEMPLATE, &mut others);
    rules::check(&root, providers, &mut others);
    // What else is wrong with such a text shows once the variable is set.
    let is_unset = |field: &str| unset.iter().any(|finding| finding.field == field);
    let others: Vec<_> = others
        .iter()
        .filter(|finding| !is_unset(&finding.field))
        .cloned()
        .collect();
    findings.extend(unset);
    others.into_iter().for_each(|finding| findings.push(finding));
    Some(root)
}

/// The provider and the default template of a valid template.
fn provider_of<'a>(user: &Node, providers: &'a Providers) -> Result<(&'a Provider, &'a DefaultTemplate), Findings> {
    let target = user.get("target").unwrap_or(user);
    let word = |key| target.text_at(key).unwrap_or_default();
    let wanted = format!("{}-{}-{}", word("os"), word("dist"), word("arch"));
    let provider = providers.by_id(&wanted).map_err(|error| {
        let finding = Finding::error(&target.span, "target", error.to_string());
        Findings::from(match error.hint() {
            Some(hint) => finding.hint(hint),
            None => finding,
        })
    })?;
    let default = ImageType::named(word("imageType")).and_then(|image_type| provider.default_for(image_type));
    let default = default.ok_or_else(|| {
        let at = target.get("imageType").unwrap_or(target);
        let message = format!("{provider} has no default template for {} images", word("imageType"));
        Findings::from(
            Finding::error(&at.span, "target.imageType", message)
                .allowed(provider.defaults.iter().map(|default| default.image_type.as_str()))
                .hint("add one to the provider's defaults, see docs/providers.md"),
        )
    })?;
    Ok((provider, default))
}
