//! The settings, each declared once: key of the file, variable, flag, default and meaning.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::LazyLock;

use super::{LogLevel, Origin, RawDigest, Value};
use crate::words::Words;
use crate::yaml::Findings;
use crate::yaml::schema::{Field, Shape, Text};

/// A setting as files, variables and flags name it.
#[derive(Debug)]
pub struct Setting {
    /// The map of the configuration file that holds it; `None` is the top.
    pub section: Option<&'static str>,
    /// Its key in the configuration file.
    pub key: &'static str,
    /// The environment variable that overrides the file.
    pub variable: &'static str,
    /// The flag that overrides both, for settings that have one.
    pub flag: Option<&'static str>,
    /// The possible values.
    pub shape: Shape,
    /// Its meaning.
    pub doc: &'static str,
    /// Sets it from a text of the given origin; `Err` names the fault.
    pub(super) set: fn(&mut Config, &OsStr, &Origin) -> Result<(), String>,
    /// Shows its value and origin.
    pub(super) show: fn(&Config) -> (String, &Origin),
}

impl Setting {
    /// Gives the path of its key in the configuration file, such as `logging.level`.
    pub fn path(&self) -> String {
        match self.section {
            Some(section) => format!("{section}.{}", self.key),
            None => self.key.to_owned(),
        }
    }

    /// Gives the field of the configuration file.
    pub(super) fn field(&self) -> Field {
        Field::new(self.key, self.shape, self.doc)
    }
}

/// A type of setting values.
pub(super) trait Parse: Sized {
    /// Parses the text of a file, a variable or a flag; `Err` names the fault.
    fn parse(text: &OsStr, shape: &Shape) -> Result<Self, String>;

    /// Shows the value as `config show` does.
    fn show(&self) -> String;
}

impl Parse for PathBuf {
    fn parse(text: &OsStr, _: &Shape) -> Result<Self, String> {
        Ok(text.into())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Parse for Option<PathBuf> {
    fn parse(text: &OsStr, _: &Shape) -> Result<Self, String> {
        Ok(Some(text.into()))
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Parse::show)
    }
}

impl Parse for Vec<String> {
    fn parse(text: &OsStr, _: &Shape) -> Result<Self, String> {
        let text = text.to_str().ok_or_else(|| format!("{text:?} is not a text"))?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    fn show(&self) -> String {
        match self.is_empty() {
            true => "none".to_owned(),
            false => self.join(" "),
        }
    }
}

impl Parse for bool {
    fn parse(text: &OsStr, _: &Shape) -> Result<Self, String> {
        match &*text.to_string_lossy() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("{other:?} is not true or false")),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Parse for u16 {
    fn parse(text: &OsStr, shape: &Shape) -> Result<Self, String> {
        let text = text.to_string_lossy();
        let (min, max) = match shape {
            Shape::Int { min, max } => (*min, *max),
            _ => (0, i64::from(Self::MAX)),
        };
        let value = text
            .parse()
            .ok()
            .filter(|value| (min..=max).contains(&i64::from(*value)));
        value.ok_or_else(|| format!("{text:?} is not a number from {min} to {max}"))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: Words> Parse for T {
    fn parse(text: &OsStr, _: &Shape) -> Result<Self, String> {
        let text = text.to_string_lossy();
        Self::named(&text).ok_or_else(|| format!("{text:?} is not one of {}", Self::CHOICES.join(", ")))
    }

    fn show(&self) -> String {
        self.word().to_owned()
    }
}

/// Declares [`Config`], its defaults and [`SETTINGS`] from one list.
macro_rules! settings {
    ($(
        $name:ident: $type:ty {
            section: $section:expr,
            key: $key:literal,
            variable: $variable:literal,
            flag: $flag:expr,
            shape: $shape:expr,
            default: $default:expr,
            doc: $doc:literal,
        }
    )+) => {
        /// All settings.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $(
                #[doc = $doc]
                pub $name: Value<$type>,
            )+
            /// Mirror by archive name, sorted.
            pub mirrors: Vec<(String, Value<String>)>,
            /// Warnings about the configuration.
            pub warnings: Findings,
        }

        impl Default for Config {
            fn default() -> Self {
                Self {
                    $($name: Value::default($default),)+
                    mirrors: Vec::new(),
                    warnings: Findings::new(),
                }
            }
        }

        /// The table of all settings but the mirrors, which are named by their archives.
        pub static SETTINGS: &[Setting] = &[$(
            Setting {
                section: $section,
                key: $key,
                variable: $variable,
                flag: $flag,
                shape: $shape,
                doc: $doc,
                set: |config, text, origin| {
                    let value = <$type as Parse>::parse(text, &$shape)?;
                    let origin = origin.clone();
                    config.$name = Value { value, origin };
                    Ok(())
                },
                show: |config| (config.$name.value.show(), &config.$name.origin),
            },
        )+];
    };
}

/// The section of the logging settings.
pub(super) const LOGGING: &str = "logging";
const PATH: Shape = Shape::Text(Text::ANY);

/// Base URLs by archive.
pub(super) const MIRRORS: Field<crate::yaml::Node> = Field::table(
    "mirrors",
    Text::ANY
        .filled()
        .pattern("[a-z0-9][a-z0-9-]*", "the name of an archive, such as debian-security"),
    &Shape::Text(Text::ANY.filled().pattern(
        r"(https?://|file:///)[^\s]+",
        "a URL that starts with http://, https:// or file:///",
    )),
    "Base URL by archive name, such as debian and debian-security.",
);

/// Gives the fields of a configuration file. The keys of the tool that oic replaces are all accepted.
pub fn fields() -> &'static [Field] {
    static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| {
        let logging = Field::map(LOGGING, logging(), "What is logged, and where to.");
        let mut fields = section(None);
        fields.extend([MIRRORS.untyped(), logging.untyped(), super::schema::AI.untyped()]);
        fields
    });
    &FIELDS
}

/// Gives the fields of `logging`.
fn logging() -> &'static [Field] {
    static FIELDS: LazyLock<Vec<Field>> = LazyLock::new(|| section(Some(LOGGING)));
    &FIELDS
}

/// Lists the fields of a section; `None` is the top.
fn section(name: Option<&str>) -> Vec<Field> {
    let own = SETTINGS.iter().filter(|setting| setting.section == name);
    own.map(Setting::field).collect()
}

settings! {
    workers: u16 {
        section: None,
        key: "workers",
        variable: "OIC_WORKERS",
        flag: Some("--workers"),
        shape: Shape::Int { min: 1, max: 100 },
        default: 16,
        doc: "Parallel downloads and threads.",
    }
    cache_dir: PathBuf {
        section: None,
        key: "cache_dir",
        variable: "OIC_CACHE_DIR",
        flag: Some("--cache-dir"),
        shape: PATH,
        default: "/var/cache/os-image-composer".into(),
        doc: "Verified packages and repository metadata.",
    }
    work_dir: PathBuf {
        section: None,
        key: "work_dir",
        variable: "OIC_WORK_DIR",
        flag: Some("--work-dir"),
        shape: PATH,
        default: "/var/tmp/os-image-composer".into(),
        doc: "Snapshots, layers and images.",
    }
    temp_dir: PathBuf {
        section: None,
        key: "temp_dir",
        variable: "OIC_TEMP_DIR",
        flag: None,
        shape: PATH,
        default: "/tmp".into(),
        doc: "Short-lived files.",
    }
    config_dir: Option<PathBuf> {
        section: None,
        key: "config_dir",
        variable: "OIC_CONFIG_DIR",
        flag: None,
        shape: Shape::Text(Text::ANY.examples(&["/etc/os-image-composer/data"])),
        default: None,
        doc: "Provider data of your own.",
    }
    digest: RawDigest {
        section: None,
        key: "digest",
        variable: "OIC_DIGEST",
        flag: None,
        shape: Shape::Text(Text::ANY.one_of(RawDigest::CHOICES)),
        default: RawDigest::Tree,
        doc: "The digests of a delivered raw image: its tree alone, or SHA-256 too, which hashes holes byte by byte.",
    }
    sign_command: Vec<String> {
        section: None,
        key: "sign_command",
        variable: "OIC_SIGN_COMMAND",
        flag: None,
        shape: Shape::Text(Text::ANY.examples(&["/usr/local/bin/sign-with-kms edge-2026"])),
        default: Vec::new(),
        doc: "A program that signs for templates whose systemConfig.signing has no key, and its arguments, with spaces between them.",
    }
    notify: bool {
        section: None,
        key: "notify",
        variable: "OIC_NOTIFY",
        flag: None,
        shape: Shape::Bool,
        default: false,
        doc: "Whether a terminal tells the desktop that a build of over ten seconds has ended.",
    }
    log_level: LogLevel {
        section: Some(LOGGING),
        key: "level",
        variable: "OIC_LOG_LEVEL",
        flag: Some("--log-level"),
        shape: Shape::Text(Text::ANY.one_of(LogLevel::CHOICES)),
        default: LogLevel::Info,
        doc: "How much.",
    }
    log_file: Option<PathBuf> {
        section: Some(LOGGING),
        key: "file",
        variable: "OIC_LOG_FILE",
        flag: Some("--log-file"),
        shape: Shape::Text(Text::ANY.examples(&["/var/log/oic.log"])),
        default: None,
        doc: "A file that gets the log, too.",
    }
}
