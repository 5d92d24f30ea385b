//! Provider files (`data/providers/{os}/{dist}/provider.yml`) to [`Provider`]s.

use super::files::Files;
use super::{DefaultTemplate, PackageSystem, Provider, ProviderKey, ProviderRepository};
use crate::package::Arch;
use crate::repo::{MirrorList, Signed};
use crate::template::model::ImageType;
use crate::yaml::schema::{self, Field, Shape, Text, Unique};
use crate::yaml::{Finding, Findings, Node, parse};

const WORD: Shape = Shape::Text(
    Text::ANY
        .filled()
        .pattern("[A-Za-z0-9][A-Za-z0-9+._/-]*", "letters, digits and + . _ / -"),
);
const PATH: Shape = Shape::Text(Text::ANY.pattern("/[A-Za-z0-9+._/-]+", "an absolute path of plain characters"));
const URL: Shape = Shape::Text(Text::ANY.pattern(
    r"(https?://|file:///)[^\s<>]+",
    "a URL that starts with http://, https:// or file:///",
));
const WORDS: Shape = Shape::List {
    item: &WORD,
    unique: Unique::Value,
};
const ARCH: Shape = Shape::Text(Text::ANY.one_of(&["x86_64", "aarch64", "armv7hl"]));

/// A `provider.yml`.
pub static PROVIDER: &[Field] = &[
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
    Field::new(
        "archive",
        WORD,
        "Which archive holds it: the name that a mirror is given for.",
    )
    .required(),
    Field::new(
        "architectures",
        Shape::List {
            item: &ARCH,
            unique: Unique::Value,
        },
        "For which architectures it is; for all if absent.",
    ),
    Field::new(
        "baseUrl",
        URL,
        "Where its vendor serves it; {arch} becomes the architecture. Any mirror that is named counts before.",
    ),
    Field::new(
        "mirrorList",
        URL,
        "A list of base URLs, one per line, instead of baseUrl; {arch} becomes the architecture; for .rpm packages.",
    ),
    Field::new(
        "metalink",
        URL,
        "A metalink for repomd.xml, instead of baseUrl; {arch} becomes the architecture; for .rpm packages.",
    ),
    Field::new(
        "signed",
        Shape::Text(Text::ANY.one_of(&["metadata", "packages", "both"])),
        "What the keys must have signed; for .rpm packages, both if absent; .deb packages always have signed metadata.",
    ),
    Field::new("suite", WORD, "Suite; needed for .deb packages."),
    Field::new("components", WORDS, "Components; needed for .deb packages."),
    Field::new(
        "keys",
        Shape::List {
            item: &Shape::Map(KEY),
            unique: Unique::No,
        },
        "Which keys may sign it.",
    )
    .required(),
    Field::new(
        "priority",
        Shape::Int { min: -9999, max: 9999 },
        "Pin priority; 500 if absent.",
    ),
    Field::new(
        "excludePackages",
        Shape::List {
            item: &Shape::Text(Text::ANY.filled().max_chars(256)),
            unique: Unique::No,
        },
        "These packages are never taken from it: names or globs; of .rpm packages also name-version-release.arch and its parts.",
    ),
];

static KEY: &[Field] = &[
    Field::new("file", WORD, "A file below keys/, beside providers/."),
    Field::new("path", PATH, "A keyring on the build host, used if it is there."),
    Field::new(
        "url",
        Shape::Text(Text::ANY.pattern(r"https?://[^\s<>]+", "a URL that starts with http:// or https://")),
        "Where it is fetched otherwise; it needs fingerprints.",
    ),
    Field::new(
        "fingerprints",
        Shape::List {
            item: &Shape::Text(Text::ANY.pattern(
                "[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}",
                "a fingerprint of 40 or 64 hexadecimal digits",
            )),
            unique: Unique::Value,
        },
        "Only certificates with these fingerprints count.",
    ),
];

static DEFAULT: &[Field] = &[
    Field::new(
        "imageType",
        Shape::Text(Text::ANY.one_of(&["raw", "img", "iso"])),
        "For which image type.",
    )
    .required(),
    Field::new("arch", ARCH, "For which architecture; for all if absent."),
    Field::new("file", WORD, "File below defaults/.").required(),
];

/// All providers of `files`.
pub(super) fn load_all(files: &Files) -> Result<Vec<Provider>, Findings> {
    let mut providers = Vec::new();
    for directory in files.directories()? {
        providers.extend(load(&directory, files)?);
    }
    Ok(providers)
}

/// The providers that the file `{directory}/provider.yml` describes, one per architecture.
fn load(directory: &str, files: &Files) -> Result<Vec<Provider>, Findings> {
    let mut findings = Findings::new();
    let source = files.text(&format!("{directory}/provider.yml"))?;
    let root = parse(&source, &mut findings);
    if let Some(root) = &root {
        schema::validate(root, PROVIDER, &mut findings);
        check(root, directory, &mut findings);
    }
    findings.into_result()?;
    let root = root.ok_or_else(Findings::new)?;
    let archs = root
        .items_at("architectures")
        .iter()
        .filter_map(|arch| arch.text()?.parse().ok());
    archs.map(|arch| provider(&root, directory, arch, files)).collect()
}

/// What spans several fields.
fn check(root: &Node, directory: &str, findings: &mut Findings) {
    let named = format!(
        "providers/{}/{}",
        root.text_at("os").unwrap_or_default(),
        root.text_at("dist").unwrap_or_default()
    );
    if named != directory {
        let message = format!("describes {named} but lies in {directory}");
        findings.push(Finding::error(&root.span, "os", message));
    }
    for (index, repository) in root.items_at("repositories").iter().enumerate() {
        let path = format!("repositories[{index}]");
        if root.text_at("packageSystem") == Some("deb") {
            for key in ["suite", "components"]
                .into_iter()
                .filter(|key| repository.get(key).is_none())
            {
                let message = "is missing: repositories of .deb packages have it";
                findings.push(Finding::error(&repository.span, format!("{path}.{key}"), message));
            }
        }
        let sources = ["baseUrl", "mirrorList", "metalink"];
        let given = sources.iter().filter(|key| repository.get(key).is_some());
        if given.count() > 1 {
            let message = "has more than one of baseUrl, mirrorList and metalink";
            findings.push(Finding::error(&repository.span, &path, message));
        }
        for (number, key) in repository.items_at("keys").iter().enumerate() {
            let given = ["file", "path", "url"]
                .into_iter()
                .any(|name| key.text_at(name).is_some());
            if !given {
                let message = "has none of file, path and url";
                findings.push(Finding::error(&key.span, format!("{path}.keys[{number}]"), message));
            }
        }
    }
}

/// Whether a node is for an architecture: it names it, or none.
fn is_for(node: &Node, arch: Arch) -> bool {
    let list = node.items_at("architectures");
    let one = node.text_at("arch");
    one.is_none_or(|name| name == arch.as_str())
        && (list.is_empty() || list.iter().any(|name| name.text() == Some(arch.as_str())))
}

fn provider(root: &Node, directory: &str, arch: Arch, files: &Files) -> Result<Provider, Findings> {
    let word = |key: &str| root.text_at(key).unwrap_or_default().to_owned();
    let mut repositories = Vec::new();
    for node in root.items_at("repositories").iter().filter(|node| is_for(node, arch)) {
        repositories.push(repository(node, arch, files)?);
    }
    let mut defaults = Vec::new();
    for node in root.items_at("defaults").iter().filter(|node| is_for(node, arch)) {
        let Some((file, image_type)) = node
            .text_at("file")
            .zip(node.text_at("imageType").and_then(ImageType::named))
        else {
            continue;
        };
        let directory = format!("{directory}/defaults");
        defaults.push(DefaultTemplate {
            image_type,
            source: files.text(&format!("{directory}/{file}"))?,
            overlay: files.overlaid(&directory),
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

fn repository(node: &Node, arch: Arch, files: &Files) -> Result<ProviderRepository, Findings> {
    let word = |key: &str| node.text_at(key).unwrap_or_default().to_owned();
    let keys = node.items_at("keys").iter().map(|node| key(node, files));
    let url = |key: &str| Some(node.text_at(key)?.replace("{arch}", arch.as_str()));
    let plain = url("mirrorList").map(MirrorList::Plain);
    Ok(ProviderRepository {
        id: word("id"),
        archive: word("archive"),
        base_url: url("baseUrl").map(|url| url.trim_end_matches('/').to_owned()),
        mirror_list: plain.or_else(|| url("metalink").map(MirrorList::Metalink)),
        signed: match node.text_at("signed") {
            Some("metadata") => Signed::Metadata,
            Some("packages") => Signed::Packages,
            _ => Signed::Both,
        },
        suite: word("suite"),
        components: words(node, "components"),
        priority: node
            .get("priority")
            .and_then(Node::int)
            .and_then(|p| p.try_into().ok())
            .unwrap_or(500),
        keys: keys.collect::<Result<_, _>>()?,
        exclude_packages: words(node, "excludePackages"),
    })
}

fn key(node: &Node, files: &Files) -> Result<ProviderKey, Findings> {
    let content = match node.text_at("file") {
        None => None,
        Some(name) => {
            let missing = |reason| Findings::from(Finding::error(&node.span, "keys", reason));
            Some(files.key(name).map_err(missing)?)
        }
    };
    Ok(ProviderKey {
        content,
        path: node.text_at("path").map(Into::into),
        url: node.text_at("url").map(str::to_owned),
        fingerprints: words(node, "fingerprints")
            .iter()
            .map(|f| f.to_ascii_uppercase())
            .collect(),
    })
}

fn words(node: &Node, key: &str) -> Vec<String> {
    node.items_at(key)
        .iter()
        .filter_map(Node::text)
        .map(str::to_owned)
        .collect()
}
