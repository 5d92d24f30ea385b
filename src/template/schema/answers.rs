//! Fields of the answers to questions of packages.

use crate::model::QuestionType;
use crate::yaml::schema::{Check, Field, Text, fields};

/// The answer to a question: one line. debconf-set-selections(1) takes a `\` at its end for a line that goes on.
const ANSWER: Check = Check {
    test: answer,
    pattern: r"[^\n\t]*[^\n\t\\]",
    words: "a single line that does not end in \\",
};

fields! {
    /// `systemConfig.debconf[]`.
    mod debconf {
        PACKAGE: str = Field::text(
            "package",
            Text::ANY
                .filled()
                .max_chars(256)
                .pattern("[a-z0-9][a-z0-9+.-]*", "the name of a .deb package"),
            "The package that asks.",
        )
        .required();
        QUESTION: str = Field::text(
            "question",
            Text::ANY.filled().max_chars(256).pattern(
                "[A-Za-z0-9][A-Za-z0-9+._/-]*",
                "the name of a question, such as postfix/main_mailer_type",
            ),
            "The question, as debconf-show(1) names it.",
        )
        .required();
        TYPE: QuestionType = Field::word("type", "The type of the question.").required();
        VALUE: str = Field::text(
            "value",
            Text::ANY.check(super::ANSWER).secret(),
            "The answer; it is shown nowhere. Empty if absent.",
        );
    }
}

/// Checks an answer.
fn answer(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) || text.ends_with('\\') {
        return Err("must be a single line that does not end in \\".to_owned());
    }
    Ok(())
}
