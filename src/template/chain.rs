//! A template and the templates that it extends, each read and checked by itself.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::files::{Base, Origin, normalized, root_of};
use super::schema::{target, template};
use super::source::TemplateSource;
use super::variables::Variables;
use super::{rules, schema};
use crate::provider::Providers;
use crate::yaml::schema::Field;
use crate::yaml::{self, Finding, Findings, Node, Place, parse};

/// The number of steps from which on a reader loses the thread: a warning.
const STEPS_CLEAR: usize = 4;
/// The largest number of steps; no template needs them.
const STEPS_MAX: usize = 32;

/// One template of a chain.
#[derive(Debug)]
pub(super) struct Link {
    /// Its text, and where it has its files.
    pub(super) origin: Origin,
    /// Its tree, variables put in.
    pub(super) root: Node,
    /// Its name as the messages show it; `None` if it is no file.
    file: Option<PathBuf>,
}

/// Reads a template and all that it extends, and returns them, the template first. What is wrong goes to `findings`; the
/// chain ends before what cannot be read.
pub(super) fn read(
    source: &TemplateSource,
    providers: &Providers,
    variables: &Variables,
    findings: &mut Findings,
) -> Vec<Link> {
    let mut chain: Vec<Link> = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut next = link(source, providers, variables, findings);
    while let Some(link) = next.take() {
        if let Some(leaf) = chain.first() {
            check_target(&leaf.root, &link.root, findings);
        }
        seen.extend(link.file.as_ref().and_then(|file| file.canonicalize().ok()));
        let parent = self::parent(&link, &seen, findings);
        chain.push(link);
        let Some(file) = parent else { break };
        next = self::link(&TemplateSource::File(file), providers, variables, findings);
    }
    warn_of_length(&chain, findings);
    chain
}

/// Reads and checks one template.
fn link(
    source: &TemplateSource,
    providers: &Providers,
    variables: &Variables,
    findings: &mut Findings,
) -> Option<Link> {
    let text = match source.read() {
        Ok(text) => text,
        Err(unreadable) => {
            findings.extend(unreadable);
            return None;
        }
    };
    let mut root = parse(&text, findings)?;
    let given = source.overrides();
    given.iter().for_each(|given| given.apply(&mut root, findings));
    check(&mut root, providers, variables, findings);
    Some(Link {
        origin: Origin {
            source: text,
            base: source.base(),
        },
        root,
        file: source.file().map(Path::to_owned),
    })
}

/// Puts variables into the template `root`, and checks it.
pub(super) fn check(root: &mut Node, providers: &Providers, variables: &Variables, findings: &mut Findings) {
    let mut unset = Findings::new();
    variables.substitute(root, &mut unset);
    let mut others = Findings::new();
    yaml::schema::validate(root, schema::TEMPLATE, &mut others);
    rules::check(root, providers, &mut others);
    // What else is wrong with such a text shows once the variable is set.
    let is_unset = |field: &str| unset.iter().any(|finding| finding.field == field);
    let others: Vec<_> = others
        .iter()
        .filter(|finding| !is_unset(&finding.field))
        .cloned()
        .collect();
    findings.extend(unset);
    others.into_iter().for_each(|finding| findings.push(finding));
}

/// Returns the file that `link` extends, if it names one that may be read. `seen` are the files of the chain so far, by
/// their canonical names.
fn parent(link: &Link, seen: &[PathBuf], findings: &mut Findings) -> Option<PathBuf> {
    let root = Place::root(&link.root);
    let extends = root.read(template::EXTENDS)?;
    let place = root.at(template::EXTENDS);
    let Base::Directory(directory) = &link.origin.base else {
        findings.push(place.error("has no meaning in a template that comes with oic: it has no directory"));
        return None;
    };
    match find_parent(extends, directory, seen, &place) {
        Ok(()) => {
            // Named as the user names the first file: relative names stay so.
            let beside = link.file.as_deref().and_then(Path::parent);
            Some(beside.unwrap_or(Path::new("")).join(extends))
        }
        Err(finding) => {
            findings.push(*finding);
            None
        }
    }
}

/// Checks that a template in `directory` may extend the file `extends`.
fn find_parent(extends: &str, directory: &Path, seen: &[PathBuf], place: &Place<'_>) -> Result<(), Box<Finding>> {
    let fail = |message: String| place.error(message);
    let written = directory.join(extends);
    let root = root_of(directory);
    let outside = || {
        let finding = fail(format!(
            "{extends:?} leads out of {}, the directory of these templates",
            root.display()
        ));
        Box::new(finding.hint(
            "put it beside or below this template; or put an empty file .oic-root into the directory that holds both",
        ))
    };
    if !normalized(&written).starts_with(root) {
        return Err(outside());
    }
    match written.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => {
            return Err(Box::new(
                fail(format!("{extends:?} is a symbolic link")).hint("name the file that it leads to"),
            ));
        }
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(Box::new(fail(format!("there is no template {}", written.display()))));
        }
        Err(error) => return Err(Box::new(fail(format!("{} cannot be read: {error}", written.display())))),
    }
    let real = |path: &Path| {
        path.canonicalize()
            .map_err(|error| Box::new(fail(format!("cannot be read: {error}"))))
    };
    let canonical = real(&written)?;
    if !canonical.starts_with(real(root)?) {
        return Err(outside());
    }
    if let Some(first) = seen.iter().position(|earlier| *earlier == canonical) {
        let circle = seen.iter().skip(first).chain([&canonical]);
        let names: Vec<_> = circle
            .filter_map(|path| Some(path.file_name()?.to_string_lossy()))
            .collect();
        return Err(Box::new(fail(format!(
            "the templates extend each other in a circle: {}",
            names.join(" -> ")
        ))));
    }
    if seen.len() > STEPS_MAX {
        return Err(Box::new(fail(format!(
            "is more than {STEPS_MAX} steps away from the template that is built"
        ))));
    }
    Ok(())
}

/// Checks that a template that is extended is for the target of the template that is built.
fn check_target(leaf: &Node, parent: &Node, findings: &mut Findings) {
    let fields = [
        target::OS.untyped(),
        target::DIST.untyped(),
        target::ARCH.untyped(),
        target::IMAGE_TYPE.untyped(),
    ];
    let word = |root: &Node, field: Field| {
        let target = root.read(template::TARGET)?;
        Some(target.get(field)?.text()?.to_owned())
    };
    for field in fields {
        if let (Some(own), Some(other)) = (word(leaf, field), word(parent, field))
            && own != other
        {
            let place = Place::root(parent).at(template::TARGET).at(field);
            let leaf = leaf.span.source().name.display();
            let message = format!("{other:?} is another target than {own:?} of {leaf}, which extends this template");
            findings.push(
                place
                    .error(message)
                    .hint("a template extends templates of its own target only"),
            );
        }
    }
}

/// Warns of a chain that is hard to follow.
fn warn_of_length(chain: &[Link], findings: &mut Findings) {
    let steps = chain.len().saturating_sub(1);
    if let Some(leaf) = chain.first().filter(|_| steps > STEPS_CLEAR) {
        let place = Place::root(&leaf.root).at(template::EXTENDS);
        findings.push(place.warning(format!(
            "the chain of templates has {steps} steps, which is hard to follow"
        )));
    }
}
