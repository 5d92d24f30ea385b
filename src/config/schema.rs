//! The keys of a configuration file.

use crate::yaml::schema::{Field, Shape, Text};

/// A configuration file. The keys of the tool that oic replaces are all accepted.
pub static CONFIG: &[Field] = &[
    Field::new(
        "workers",
        Shape::Int { min: 1, max: 100 },
        "Parallel downloads and threads.",
    ),
    Field::new("cache_dir", PATH, "Verified packages and repository metadata."),
    Field::new("work_dir", PATH, "Snapshots, layers and images."),
    Field::new("temp_dir", PATH, "Short-lived files."),
    Field::new("config_dir", PATH, "Provider data of your own."),
    Field::new(
        "mirrors",
        Shape::Table {
            key: Text::ANY
                .filled()
                .pattern("[a-z0-9][a-z0-9-]*", "the name of an archive, such as debian-security"),
            value: &Shape::Text(Text::ANY.filled().pattern(
                r"(https?://|file:///)[^\s]+",
                "a URL that starts with http://, https:// or file:///",
            )),
        },
        "Base URL by archive name, such as debian and debian-security.",
    ),
    Field::new("logging", Shape::Map(LOGGING), "What is logged, and where to."),
    Field::new("ai", Shape::Map(AI), "Of the older tool; ignored."),
];

const PATH: Shape = Shape::Text(Text::ANY);
const TEXT: Shape = Shape::Text(Text::ANY);

static LOGGING: &[Field] = &[
    Field::new(
        "level",
        Shape::Text(Text::ANY.one_of(&["debug", "info", "warn", "error"])),
        "How much.",
    ),
    Field::new("file", PATH, "A file that gets the log, too."),
];

static AI: &[Field] = &[
    Field::new("provider", TEXT, "Ignored."),
    Field::new("templates_dir", TEXT, "Ignored."),
    Field::new("ollama", Shape::Map(MODEL), "Ignored."),
    Field::new("openai", Shape::Map(MODEL), "Ignored."),
    Field::new("cache", Shape::Map(AI_CACHE), "Ignored."),
    Field::new("scoring", Shape::Map(SCORING), "Ignored."),
];

static MODEL: &[Field] = &[
    Field::new("base_url", TEXT, "Ignored."),
    Field::new("embedding_model", TEXT, "Ignored."),
    Field::new("chat_model", TEXT, "Ignored."),
    Field::new("timeout", Shape::Number, "Ignored."),
];

static AI_CACHE: &[Field] = &[
    Field::new("enabled", Shape::Bool, "Ignored."),
    Field::new("dir", TEXT, "Ignored."),
];

static SCORING: &[Field] = &[
    Field::new("semantic", Shape::Number, "Ignored."),
    Field::new("keyword", Shape::Number, "Ignored."),
    Field::new("package", Shape::Number, "Ignored."),
];
