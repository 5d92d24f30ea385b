//! Fields of a container image.

use crate::yaml::Node;
use crate::yaml::schema::{Field, Shape, Text, Unique, fields};

use super::checks;

const WORD: Text = Text::ANY.check(checks::ONE_LINE);
/// The name of a label (OCI Image Format Specification, "Annotations").
const LABEL: Text = Text::ANY.filled().max_chars(256).pattern(
    "[A-Za-z0-9][A-Za-z0-9._/-]*",
    "the name of a label, such as org.opencontainers.image.source",
);
const LABEL_VALUE: Shape = Shape::Plain(WORD);

fields! {
    /// `container`.
    mod container {
        LABELS: Node = Field::table("labels", super::LABEL, &super::LABEL_VALUE, "Labels of the image.");
        ENTRYPOINT: [String] = Field::texts(
            "entrypoint",
            &Shape::Text(super::WORD),
            Unique::No,
            "The program that a container starts, with its first arguments.",
        );
        COMMAND: [String] = Field::texts(
            "command",
            &Shape::Text(super::WORD),
            Unique::No,
            "Further arguments, which the user of the image can replace; without an entrypoint a program and its arguments.",
        );
        USER: str = Field::text(
            "user",
            Text::ANY.max_chars(64).pattern(
                "[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?",
                "a user, or user:group, by name or number",
            ),
            "The user that runs it; root if absent.",
        );
        WORKING_DIRECTORY: str = Field::text(
            "workingDirectory",
            Text::ANY.check(checks::ABSOLUTE),
            "The directory in which it starts; / if absent.",
        );
    }
}
