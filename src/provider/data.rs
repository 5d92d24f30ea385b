//! Provider files (`data/providers/{os}/{dist}/provider.yml`) to [`Provider`]s.

use std::sync::Arc;

use super::{DefaultTemplate, PackageSystem, Provider, ProviderRepository};
use crate::data;
use crate::package::Arch;
use crate::template::image_type;
use crate::yaml::schema::{self, Field, Shape, Text, Unique};
use crate::yaml::{Finding, Findings, Node, Source, parse};

/// Directories that have a `provider.yml`.
const DIRECTORIES: &[&str] = &["providers/debian/debian13"];

const WORD: Shape = Shape::Text(
    Text::ANY
        .filled()
        .pattern("[A-Za-z0-9][A-Za-z0-9+._/-]*", "letters, digits and + . _ / -"),
);
const PATH: Shape = Shape::Text(Text::ANY.pattern("/[A-Za-z0-9+._/-]+", "an absolute path of plain characters"));
const WORDS: Shape = Shape::List {
    item: &WORD,
    unique: Unique::Value,
};
const ARCH: Shape = Shape::Text(Text::ANY.one_of(&["x86_64", "aarch64", "armv7hl"]));

static PROVIDER: &[Field] = &[
    Field::new("os", WORD, "Operating system.").required(),
    Field::new("dist", WORD, "Distribution.").required(),
    Field::new(
        "packageSystem",
        Shape::Text(Text::ANY.one_of(&["deb", "rpm"])),
        "Kind of packages.",
    )
    .required(),
    Field::new("releaseVersion", WORD, "Version of the distribution.").required(),
    Field::new(
        "imageKeyring",
        PATH,
        "Keyring that the image's own apt trusts for these repositories.",
    ),
    Field::new(
        "architectures",
        Shape::List {
            item: &ARCH,
            unique: Unique::Value,
        },
        "One provider is made for each.",
    )
    .required(),
    Field::new(
        "repositories",
        Shape::List {
            item: &Shape::Map(REPOSITORY),
            unique: Unique::Key("id"),
        },
        "Where packages come from.",
    )
    .required(),
    Field::new("basePackages", WORDS, "What every image starts from.").required(),
    Field::new(
        "defaults",
        Shape::List {
            item: &Shape::Map(DEFAULT),
            unique: Unique::No,
        },
        "Default templates.",
    )
    .required(),
];

static REPOSITORY: &[Field] = &[
    Field::new("id", WORD, "Name in messages and lockfiles.").required(),
    Field::new("archive", WORD, "Which archive holds it.").required(),
    Field::new("suite", WORD, "Suite.").required(),
    Field::new("components", WORDS, "Components.").required(),
    Field::new("keys", WORDS, "Files with the certificates that may sign it.").required(),
    Field::new(
        "priority",
        Shape::Int { min: -9999, max: 9999 },
        "Pin priority; 500 if absent.",
    ),
];

static DEFAULT: &[Field] = &[
    Field::new(
        "imageType",
        Shape::Text(Text::ANY.one_of(&["raw", "img", "iso"])),
        "For which image type.",
    )
    .required(),
    Field::new("arch", ARCH, "For which architecture.").required(),
    Field::new("file", WORD, "File below defaults/.").required(),
];

/// All providers that are compiled in.
pub(super) fn embedded() -> Result<Vec<Provider>, Findings> {
    let read = |path: &str| data::file(path).map(<[u8]>::to_vec);
    let mut providers = Vec::new();
    for directory in DIRECTORIES {
        providers.extend(load(directory, &read)?);
    }
    Ok(providers)
}

/// The providers that the file `{directory}/provider.yml` describes, one per architecture.
/// `read` gives the content of a data file; keys are looked up below `keys/`.
fn load(directory: &str, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Vec<Provider>, Findings> {
    let mut findings = Findings::new();
    let source = text(&format!("{directory}/provider.yml"), read)?;
    let root = parse(&source, &mut findings);
    if let Some(root) = &root {
        schema::validate(root, PROVIDER, &mut findings);
    }
    findings.into_result()?;
    let root = root.ok_or_else(Findings::new)?;
    let archs = root
        .items_at("architectures")
        .iter()
        .filter_map(|arch| arch.text()?.parse().ok());
    archs.map(|arch| provider(&root, directory, arch, read)).collect()
}

fn provider(
    root: &Node,
    directory: &str,
    arch: Arch,
    read: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Provider, Findings> {
    let word = |key: &str| root.text_at(key).unwrap_or_default().to_owned();
    let mut repositories = Vec::new();
    for node in root.items_at("repositories") {
        repositories.push(repository(node, read)?);
    }
    let mut defaults = Vec::new();
    for node in root
        .items_at("defaults")
        .iter()
        .filter(|d| d.text_at("arch") == Some(arch.as_str()))
    {
        let Some((file, image_type)) = node.text_at("file").zip(node.text_at("imageType").and_then(image_type)) else {
            continue;
        };
        let directory = format!("{directory}/defaults");
        defaults.push(DefaultTemplate {
            image_type,
            source: text(&format!("{directory}/{file}"), read)?,
            directory,
        });
    }
    Ok(Provider {
        os: word("os"),
        dist: word("dist"),
        arch,
        package_system: match root.text_at("packageSystem") {
            Some("rpm") => PackageSystem::Rpm,
            _ => PackageSystem::Deb,
        },
        release_version: word("releaseVersion"),
        image_keyring: root.text_at("imageKeyring").map(str::to_owned),
        repositories,
        base_packages: words(root, "basePackages"),
        defaults,
    })
}

fn repository(node: &Node, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<ProviderRepository, Findings> {
    let word = |key: &str| node.text_at(key).unwrap_or_default().to_owned();
    let mut keys = Vec::new();
    for key in node.items_at("keys") {
        let name = key.text().unwrap_or_default();
        let missing = || Finding::error(&key.span, "keys", format!("there is no key file {name}"));
        keys.push(read(&format!("keys/{name}")).ok_or_else(missing)?);
    }
    Ok(ProviderRepository {
        id: word("id"),
        archive: word("archive"),
        suite: word("suite"),
        components: words(node, "components"),
        priority: node
            .get("priority")
            .and_then(Node::int)
            .and_then(|p| p.try_into().ok())
            .unwrap_or(500),
        keys,
    })
}

fn words(node: &Node, key: &str) -> Vec<String> {
    node.items_at(key)
        .iter()
        .filter_map(Node::text)
        .map(str::to_owned)
        .collect()
}

fn text(path: &str, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Arc<Source>, Findings> {
    let fail = |message: &str| Findings::from(Finding::without_position(path, "", message));
    let bytes = read(path).ok_or_else(|| fail("there is no such data file"))?;
    let text = String::from_utf8(bytes).map_err(|_| fail("is not UTF-8"))?;
    Ok(Source::new(format!("oic:{path}"), text))
}
