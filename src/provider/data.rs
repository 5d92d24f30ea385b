//! Provider files (`data/providers/{os}/{dist}/provider.yml`) to [`Provider`]s.

use super::files::Files;
use super::{DefaultTemplate, PackageSystem, Policy, Provider, ProviderKey, ProviderRepository};
use crate::fetch::shown;
use crate::model::ImageType;
use crate::package::Arch;
use crate::repo::{MirrorList, Signed};
use crate::words::Words;
use crate::yaml::schema::{self, Field, Kind, Shape, Text, Unique, fields};
use crate::yaml::{Finding, Findings, Node, Place, parse};

const WORD: Text = Text::ANY
    .filled()
    .pattern("[A-Za-z0-9][A-Za-z0-9+._/-]*", "letters, digits and + . _ / -");
const PATH: Text = Text::ANY.pattern("/[A-Za-z0-9+._/-]+", "an absolute path of plain characters");
const URL: Text = Text::ANY.pattern(
    r"(https?://|file:///)[^\s<>]+",
    "a URL that starts with http://, https:// or file:///",
);
const ARCH: Shape = Shape::Text(Text::ANY.one_of(Arch::CHOICES));

/// The fields of a `provider.yml`.
pub static PROVIDER: &[Field] = provider::ALL;

fields! {
    /// A `provider.yml`.
    mod provider {
        OS: str = Field::text("os", WORD, "Operating system.").required();
        DIST: str = Field::text("dist", WORD, "Distribution.").required();
        PACKAGE_SYSTEM: PackageSystem = Field::word("packageSystem", "Kind of packages.").required();
        RELEASE_VERSION: str = Field::text("releaseVersion", WORD, "Version of the distribution.").required();
        IMAGE_KEYRING: str = Field::text(
            "imageKeyring",
            PATH,
            "Keyring that the image's own apt trusts for these repositories.",
        );
        ARCHITECTURES: [Arch] = Field::words("architectures", &super::ARCH, Unique::Value, "One provider is made for each.").required();
        REPOSITORIES: [Node] = Field::maps(
            "repositories",
            &Shape::Map(repository::ALL),
            Unique::Key(repository::ID.name),
            "Where packages come from.",
        )
        .required();
        BASE_PACKAGES: [String] = Field::texts(
            "basePackages",
            &Shape::Text(WORD),
            Unique::Value,
            "What every image starts from.",
        )
        .required();
        DEFAULTS: [Node] = Field::maps("defaults", &Shape::Map(default::ALL), Unique::No, "Default templates.").required();
    }
}

fields! {
    /// `repositories[]`.
    mod repository {
        ID: str = Field::text("id", WORD, "Name in messages and lockfiles.").required();
        ARCHIVE: str = Field::text(
            "archive",
            WORD,
            "Which archive holds it: the name that a mirror is given for.",
        )
        .required();
        ARCHITECTURES: [Arch] = Field::words(
            "architectures",
            &super::ARCH,
            Unique::Value,
            "For which architectures it is; for all if absent.",
        );
        BASE_URL: str = Field::text(
            "baseUrl",
            URL,
            "Where its vendor serves it; {arch} becomes the architecture. Any mirror that is named counts before.",
        );
        MIRROR_LIST: str = Field::text(
            "mirrorList",
            URL,
            "A list of base URLs, one per line, instead of baseUrl; {arch} becomes the architecture; for .rpm packages.",
        );
        METALINK: str = Field::text(
            "metalink",
            URL,
            "A metalink for repomd.xml, instead of baseUrl; {arch} becomes the architecture; for .rpm packages.",
        );
        SIGNED: Signed = Field::word(
            "signed",
            "What the keys must have signed; for .rpm packages, both if absent; .deb packages always have signed metadata.",
        );
        SUITE: str = Field::text("suite", WORD, "Suite; needed for .deb packages.");
        COMPONENTS: [String] = Field::texts(
            "components",
            &Shape::Text(WORD),
            Unique::Value,
            "Components; needed for .deb packages.",
        );
        KEYS: [Node] = Field::maps("keys", &Shape::Map(key::ALL), Unique::No, "Which keys may sign it.").required();
        PRIORITY: i64 = Field::int("priority", -9999, 9999, "Pin priority; 500 if absent.");
        EXCLUDE_PACKAGES: [String] = Field::texts(
            "excludePackages",
            &Shape::Text(Text::ANY.filled().max_chars(256)),
            Unique::No,
            "These packages are never taken from it: names or globs; of .rpm packages also name-version-release.arch and its parts.",
        );
    }
}

fields! {
    /// `repositories[].keys[]`.
    mod key {
        FILE: str = Field::text("file", WORD, "A file below keys/, beside providers/.");
        PATH: str = Field::text("path", super::PATH, "A keyring on the build host, used if it is there.");
        URL: str = Field::text(
            "url",
            Text::ANY.pattern(r"https?://[^\s<>]+", "a URL that starts with http:// or https://"),
            "Where it is fetched otherwise; it needs fingerprints.",
        );
        FINGERPRINTS: [String] = Field::texts(
            "fingerprints",
            &Shape::Text(Text::ANY.pattern(
                "[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}",
                "a fingerprint of 40 or 64 hexadecimal digits",
            )),
            Unique::Value,
            "Only certificates with these fingerprints count.",
        );
    }
}

fields! {
    /// `defaults[]`.
    mod default {
        IMAGE_TYPE: ImageType = Field::word("imageType", "For which image type.").required();
        ARCH: Arch = Field::word("arch", "For which architecture; for all if absent.");
        FILE: str = Field::text("file", WORD, "File below defaults/.").required();
    }
}

/// Reads all providers of `files`.
///
/// # Errors
/// The findings in the first file that is wrong.
pub(super) fn load_all(files: &Files) -> Result<Vec<Provider>, Findings> {
    let mut providers = Vec::new();
    for directory in files.directories()? {
        providers.extend(load(&directory, files)?);
    }
    Ok(providers)
}

/// Reads the providers that the file `{directory}/provider.yml` describes, one per architecture.
fn load(directory: &str, files: &Files) -> Result<Vec<Provider>, Findings> {
    let mut findings = Findings::new();
    let source = files.text(&format!("{directory}/provider.yml"))?;
    let root = parse(&source, &mut findings);
    if let Some(root) = &root {
        schema::validate(root, PROVIDER, &mut findings);
        check(&Place::root(root), directory, &mut findings);
    }
    findings.into_result()?;
    let root = root.ok_or_else(Findings::new)?;
    let archs = root.read(provider::ARCHITECTURES).into_iter();
    archs.map(|arch| provider(&root, directory, arch, files)).collect()
}

/// Checks the rules that span several fields.
fn check(root: &Place<'_>, directory: &str, findings: &mut Findings) {
    let word = |field: Field<str>| root.read(field).unwrap_or_default();
    let named = format!("providers/{}/{}", word(provider::OS), word(provider::DIST));
    if named != directory {
        let message = format!("describes {named} but lies in {directory}");
        findings.push(Finding::error(&root.node.span, provider::OS.name, message));
    }
    for repository in root.items(provider::REPOSITORIES) {
        if root
            .read(provider::PACKAGE_SYSTEM)
            .is_some_and(|system| system.policy().has_suites)
        {
            check_suite(&repository, findings);
        }
        let sources = [repository::BASE_URL, repository::MIRROR_LIST, repository::METALINK];
        let given = sources.iter().filter(|field| repository.node.get(**field).is_some());
        for field in sources {
            if repository.read(field).is_some_and(|url| shown(url) != url) {
                let message = "must not hold a user name or password";
                findings.push(repository.at(field).error(message));
            }
        }
        if given.count() > 1 {
            findings.push(repository.error("has more than one of baseUrl, mirrorList and metalink"));
        }
        for key in repository.items(repository::KEYS) {
            let sources = [key::FILE, key::PATH, key::URL];
            if sources.iter().all(|field| key.read(*field).is_none()) {
                findings.push(key.error("has none of file, path and url"));
            }
        }
    }
}

/// Checks that a repository has suite and components.
fn check_suite(repository: &Place<'_>, findings: &mut Findings) {
    for field in [repository::SUITE.untyped(), repository::COMPONENTS.untyped()] {
        if repository.get(field).is_none() {
            let message = "is missing: repositories of these packages have it";
            findings.push(repository.at(field).error(message));
        }
    }
}

/// Reads one provider for the architecture `arch`.
fn provider(root: &Node, directory: &str, arch: Arch, files: &Files) -> Result<Provider, Findings> {
    let packages = required(root, provider::PACKAGE_SYSTEM)?.policy();
    let mut repositories = Vec::new();
    for node in root.read(provider::REPOSITORIES) {
        let archs = node.read(repository::ARCHITECTURES);
        if archs.is_empty() || archs.contains(&arch) {
            repositories.push(repository(node, packages, arch, files)?);
        }
    }
    let mut defaults = Vec::new();
    for node in root.read(provider::DEFAULTS) {
        if node.read(default::ARCH).is_none_or(|only| only == arch) {
            defaults.push(default(node, directory, files)?);
        }
    }
    Ok(Provider {
        os: required(root, provider::OS)?.to_owned(),
        dist: required(root, provider::DIST)?.to_owned(),
        arch,
        packages,
        release_version: required(root, provider::RELEASE_VERSION)?.to_owned(),
        image_keyring: root.read(provider::IMAGE_KEYRING).map(str::to_owned),
        repositories,
        base_packages: root.read(provider::BASE_PACKAGES),
        defaults,
    })
}

/// Reads a required field. The schema was checked before; a value that still does not convert is an error and never
/// becomes a default.
fn required<'a, K, T>(node: &'a Node, field: Field<K>) -> Result<T, Findings>
where
    K: Kind<Value<'a> = Option<T>> + ?Sized,
{
    node.read(field).ok_or_else(|| {
        let message = "has a value that this version does not know";
        Findings::from(Place::root(node).at(field).error(message))
    })
}

/// Reads an entry of `defaults`.
fn default(node: &Node, directory: &str, files: &Files) -> Result<DefaultTemplate, Findings> {
    let directory = format!("{directory}/defaults");
    let file = required(node, default::FILE)?;
    Ok(DefaultTemplate {
        image_type: required(node, default::IMAGE_TYPE)?,
        source: files.text(&format!("{directory}/{file}"))?,
        overlay: files.overlaid(&directory),
        directory,
    })
}

/// Reads an entry of `repositories` for the architecture `arch`.
fn repository(node: &Node, packages: &Policy, arch: Arch, files: &Files) -> Result<ProviderRepository, Findings> {
    let keys = node.read(repository::KEYS).iter().map(|node| key(node, files));
    let url = |field: Field<str>| Some(node.read(field)?.replace("{arch}", arch.as_str()));
    let plain = url(repository::MIRROR_LIST).map(MirrorList::Plain);
    let priority = node.read(repository::PRIORITY);
    Ok(ProviderRepository {
        id: required(node, repository::ID)?.to_owned(),
        archive: required(node, repository::ARCHIVE)?.to_owned(),
        base_url: url(repository::BASE_URL).map(|url| url.trim_end_matches('/').to_owned()),
        mirror_list: plain.or_else(|| url(repository::METALINK).map(MirrorList::Metalink)),
        signed: packages
            .signed
            .or_else(|| node.read(repository::SIGNED))
            .unwrap_or(Signed::Both),
        suite: node.read(repository::SUITE).unwrap_or_default().to_owned(),
        components: node.read(repository::COMPONENTS),
        priority: priority.and_then(|p| p.try_into().ok()).unwrap_or(500),
        keys: keys.collect::<Result<_, _>>()?,
        exclude_packages: node.read(repository::EXCLUDE_PACKAGES),
    })
}

/// Reads an entry of `keys`.
fn key(node: &Node, files: &Files) -> Result<ProviderKey, Findings> {
    let content = match node.read(key::FILE) {
        None => None,
        Some(name) => {
            let missing = |reason| Findings::from(Finding::error(&node.span, repository::KEYS.name, reason));
            Some(files.key(name).map_err(missing)?)
        }
    };
    let fingerprints = node.read(key::FINGERPRINTS).into_iter();
    Ok(ProviderKey {
        content,
        path: node.read(key::PATH).map(Into::into),
        url: node.read(key::URL).map(str::to_owned),
        fingerprints: fingerprints.map(|digits| digits.to_ascii_uppercase()).collect(),
        trusted: Vec::new(),
    })
}
