//! Answers to the questions that packages of Debian ask while they are installed.

use std::fmt;

use crate::words::words;

/// `systemConfig.debconf[]`.
#[derive(Clone, PartialEq, Eq)]
pub struct DebconfAnswer {
    /// The package that asks.
    pub package: String,
    /// The name of the question.
    pub question: String,
    /// The type of the question.
    pub kind: QuestionType,
    /// The answer; perhaps a password.
    pub value: String,
}

impl DebconfAnswer {
    /// Gives the line of debconf-set-selections(1).
    pub fn line(&self) -> String {
        let kind = crate::words::Words::word(self.kind);
        format!("{} {} {kind} {}\n", self.package, self.question, self.value)
    }
}

// The answer must not reach a log through `{:?}`.
impl fmt::Debug for DebconfAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebconfAnswer")
            .field("package", &self.package)
            .field("question", &self.question)
            .finish_non_exhaustive()
    }
}

/// `systemConfig.debconf[].type` (debconf-devel(7), "Type").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionType {
    /// `true` or `false`.
    Boolean,
    /// One of several values.
    Select,
    /// Some of several values, with `, ` between them.
    Multiselect,
    /// Any text.
    String,
    /// A text that only root reads.
    Password,
    /// Something to read.
    Note,
    /// The same, shorter.
    Text,
    /// The title of other questions.
    Title,
}

words!(QuestionType {
    (Self::Boolean): "boolean",
    (Self::Select): "select",
    (Self::Multiselect): "multiselect",
    (Self::String): "string",
    (Self::Password): "password",
    (Self::Note): "note",
    (Self::Text): "text",
    (Self::Title): "title",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_line_and_no_part_of_a_log() {
        let answer = DebconfAnswer {
            package: "slapd".into(),
            question: "slapd/password1".into(),
            kind: QuestionType::Password,
            value: "two words".into(),
        };
        assert_eq!(answer.line(), "slapd slapd/password1 password two words\n");
        assert!(!format!("{answer:?}").contains("words"));
    }
}
