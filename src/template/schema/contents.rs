//! Fields of files and commands.

use super::checks;
use crate::model::When;
use crate::yaml::Node;
use crate::yaml::schema::{Check, Field, Shape, Text, fields};

const OWNER: &str = "([A-Za-z_][A-Za-z0-9_.-]*[$]?|[0-9]+)(:([A-Za-z_][A-Za-z0-9_.-]*[$]?|[0-9]+))?";
/// The most characters of a text that becomes a file.
const CONTENT_MAX_CHARS: usize = 1 << 20;

const FILE_URL: Check = Check {
    test: file_url,
    pattern: r#"(?:https?://|file:///)(?![^/\s]*@)[^\s"<>]+"#,
    words: "the URL of a file, which starts with http://, https:// or file:///",
};

/// Checks the URL of a file. Its digest makes up for http.
fn file_url(url: &str) -> Result<(), String> {
    checks::usable_url(url, &["http://", "https://", "file:///"])
}

fields! {
    /// `systemConfig.additionalFiles[]`.
    mod additional_file {
        LOCAL: str = Field::text(
            "local",
            Text::ANY.filled(),
            "The file on the build host, relative to the template; or a directory, whose files and links are taken.",
        );
        CONTENT: str = Field::text(
            "content",
            Text::ANY.max_chars(CONTENT_MAX_CHARS),
            "The text of the file, in place of local. Variables are put into it if template is true.",
        );
        URL: str = Field::text(
            "url",
            Text::ANY.filled().check(FILE_URL),
            "Where to download the file, in place of local; needs sha256.",
        );
        SHA256: str = Field::text(
            "sha256",
            Text::ANY.pattern("[0-9A-Fa-f]{64}", "64 hexadecimal digits"),
            "The digest of what url gives; a file with another one stops the build.",
        );
        DIRECTORY: bool = Field::bool("directory", "Whether a directory is made, in place of a file.");
        FINAL: str = Field::text(
            "final",
            Text::ANY.filled().check(checks::DESTINATION),
            "Where it goes in the image.",
        )
        .required();
        TEMPLATE: bool = Field::bool(
            "template",
            "Whether the variables of the template replace ${name} in the text; $${ stands for ${.",
        );
        OWNER: str = Field::text(
            "owner",
            Text::ANY.filled().max_chars(65).pattern(super::OWNER, "user or user:group, names or numbers"),
            "Its owner, as user or user:group; if absent the user of the home directory that it lies in, else root.",
        );
        MODE: str = Field::text(
            "mode",
            Text::ANY.pattern("0?[0-7]{3,4}", "octal permission bits such as \"0600\""),
            "Permission bits; \"0755\" if absent and it is a directory, or its owner may execute the file on the build host, else \"0644\".",
        );
        STAGE: str = Field::text(
            "stage",
            Text::ANY.pattern("pre-initramfs", "pre-initramfs, or nothing"),
            "When it is copied into an image that is built on; an image built from packages has all files before its initrd is made.",
        );
    }
}

fields! {
    /// `systemConfig.configurations[]`.
    mod configuration {
        CMD: str = Field::text(
            "cmd",
            Text::ANY.filled().max_chars(65_536),
            "A shell command, or several lines of them.",
        )
        .required();
        NETWORK: bool = Field::bool(
            "network",
            "Whether it reaches the network; its environment then has the proxies of the build. false if absent.",
        );
        ENV: Node = Field::table(
            "env",
            Text::ANY.filled().max_chars(128).pattern("[A-Za-z_][A-Za-z0-9_]*", "letters, digits and _, no digit first"),
            &Shape::Text(Text::ANY),
            "Variables of its environment.",
        );
        WHEN: When = Field::word(
            "when",
            "With beforeInitrd the initrd is made after it; last runs after the initrd, firstBoot on the machine. \
             If absent it runs after all files and settings.",
        );
    }
}
