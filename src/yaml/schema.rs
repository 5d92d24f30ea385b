//! What a file may hold, as a table: validation, documentation and editor schemas come from it.
//!
//! ```
//! use oic::yaml::schema::{Field, Shape, Text};
//! static CAT: &[Field] = &[
//!     Field::new("name", Shape::Text(Text::ANY.filled()), "What it listens to.").required(),
//!     Field::new("lives", Shape::Int { min: 0, max: 9 }, "How many are left."),
//! ];
//! ```

mod json;
mod markdown;
mod walk;

pub use json::json_schema;
pub use markdown::markdown;
pub use walk::validate;

/// Texts are at most this long unless their field says otherwise.
pub const MAX_CHARS: usize = 4096;

/// A key of a map.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// What its value may be.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// What it means, for documentation and editors.
    pub doc: &'static str,
}

impl Field {
    /// An optional key.
    pub const fn new(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self {
            name,
            shape,
            required: false,
            doc,
        }
    }

    /// The same key, required.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A text.
    Text(Text),
    /// A whole number in a range, both ends included.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Any number.
    Number,
    /// `true` or `false`.
    Bool,
    /// A list.
    List {
        /// What each item may be.
        item: &'static Shape,
        /// What no two items share.
        unique: Unique,
    },
    /// A map with known keys.
    Map(&'static [Field]),
    /// A map with keys of the user's choice.
    Table {
        /// What keys look like.
        key: Text,
        /// What each value may be.
        value: &'static Shape,
    },
}

/// What makes two items of a list the same, which is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unique {
    /// Nothing: repetition is fine.
    No,
    /// The text of the item.
    Value,
    /// The text that the item has below a key.
    Key(&'static str),
}

/// A rule for a text that needs code to say well what is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// `Err` says what is wrong, to follow the text in a message.
    pub test: fn(&str) -> Result<(), String>,
    /// The same as a regular expression of JSON Schema (ECMA-262) for all of the text; it may
    /// let through what only code can find.
    pub pattern: &'static str,
    /// The same in words.
    pub words: &'static str,
}

/// Rules for a text. Built up from [`Text::ANY`].
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// Whether it may be empty, which means the same as absent.
    pub may_be_empty: bool,
    /// Most characters.
    pub max_chars: usize,
    /// A regular expression for all of it, and the same in words.
    pub pattern: Option<(&'static str, &'static str)>,
    /// The only values.
    pub choices: &'static [&'static str],
    /// Usual values, for editors; others are fine.
    pub examples: &'static [&'static str],
    /// Values refused for a reason of their own.
    pub refused: &'static [(&'static str, &'static str)],
    /// A rule that no pattern can express.
    pub check: Option<Check>,
    /// The value must not be repeated in a message.
    pub secret: bool,
}

impl Text {
    /// Any text, empty as well.
    pub const ANY: Self = Self {
        may_be_empty: true,
        max_chars: MAX_CHARS,
        pattern: None,
        choices: &[],
        examples: &[],
        refused: &[],
        check: None,
        secret: false,
    };

    /// Not empty.
    #[must_use]
    pub const fn filled(self) -> Self {
        Self {
            may_be_empty: false,
            ..self
        }
    }

    /// With a regular expression for all of it, which `words` explains.
    #[must_use]
    pub const fn pattern(self, regex: &'static str, words: &'static str) -> Self {
        Self {
            pattern: Some((regex, words)),
            ..self
        }
    }

    /// One of these.
    #[must_use]
    pub const fn one_of(self, choices: &'static [&'static str]) -> Self {
        Self {
            choices,
            may_be_empty: false,
            ..self
        }
    }

    /// Usually one of these.
    #[must_use]
    pub const fn examples(self, examples: &'static [&'static str]) -> Self {
        Self { examples, ..self }
    }

    /// Not one of these, for the reason given with each.
    #[must_use]
    pub const fn refuse(self, refused: &'static [(&'static str, &'static str)]) -> Self {
        Self { refused, ..self }
    }

    /// With a rule of its own.
    #[must_use]
    pub const fn check(self, check: Check) -> Self {
        Self {
            check: Some(check),
            ..self
        }
    }

    /// With another limit.
    #[must_use]
    pub const fn max_chars(self, max_chars: usize) -> Self {
        Self { max_chars, ..self }
    }

    /// Never shown.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}
