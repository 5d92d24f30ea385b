//! The possible contents of a file, as a table: validation, documentation and editor schemas come from it.
//!
//! ```
//! use oic::yaml::schema::{Field, Text};
//! const NAME: Field<str> = Field::text("name", Text::ANY.filled(), "What it listens to.").required();
//! const LIVES: Field<i64> = Field::int("lives", 0, 9, "How many are left.");
//! static CAT: &[Field] = &[NAME.untyped(), LIVES.untyped()];
//! ```

mod json;
mod markdown;
mod typed;
mod walk;

use std::marker::PhantomData;

pub use json::json_schema;
pub use markdown::markdown;
pub use typed::Kind;
pub(crate) use typed::fields;
pub use walk::{join, unknown_field, validate};

/// Longest text, in characters, unless its field says otherwise.
pub const MAX_CHARS: usize = 4096;

/// A key of a map whose value has the kind `K`.
#[derive(Debug)]
pub struct Field<K: ?Sized = Untyped> {
    /// The key.
    pub name: &'static str,
    /// The possible values.
    pub shape: Shape,
    /// Whether it must be present.
    pub required: bool,
    /// Its meaning, for documentation and editors.
    pub doc: &'static str,
    kind: PhantomData<K>,
}

impl<K: ?Sized> Clone for Field<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized> Copy for Field<K> {}

/// The kind of a field in a table, where values of all kinds stand side by side.
#[derive(Debug, Clone, Copy)]
pub struct Untyped;

impl Field {
    /// Declares an optional key that no code reads.
    pub const fn new(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self {
            name,
            shape,
            required: false,
            doc,
            kind: PhantomData,
        }
    }
}

/// The possible values of a field.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A text.
    Text(Text),
    /// A text, or a whole number in its place.
    Plain(Text),
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
    /// Anything.
    Any,
    /// A list.
    List {
        /// The shape of each item.
        item: &'static Shape,
        /// What no two items share.
        unique: Unique,
    },
    /// A map with known keys.
    Map(&'static [Field]),
    /// A map with keys of the user's choice.
    Table {
        /// The shape of keys.
        key: Text,
        /// The shape of each value.
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

/// A rule for a text that needs code to name the fault well.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// The test; `Err` names the fault, to follow the text in a message.
    pub test: fn(&str) -> Result<(), String>,
    /// The same as a regular expression of JSON Schema (ECMA-262) for all of the text; it may let through what only
    /// code can find.
    pub pattern: &'static str,
    /// The same in words.
    pub words: &'static str,
}

/// Rules for a text. Built up from [`Text::ANY`].
#[derive(Debug, Clone, Copy)]
pub struct Text {
    /// Whether it may be empty, which means the same as absent.
    pub may_be_empty: bool,
    /// Largest number of characters.
    pub max_chars: usize,
    /// A regular expression for all of it, and the same in words.
    pub pattern: Option<(&'static str, &'static str)>,
    /// The only values that are allowed.
    pub choices: &'static [&'static str],
    /// Usual values, for editors; others are fine.
    pub examples: &'static [&'static str],
    /// Values that are refused for a reason of their own.
    pub refused: &'static [(&'static str, &'static str)],
    /// A rule that no pattern can express.
    pub check: Option<Check>,
    /// Whether the value must not be repeated in a message.
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

    /// Refuses the empty text.
    #[must_use]
    pub const fn filled(self) -> Self {
        Self {
            may_be_empty: false,
            ..self
        }
    }

    /// Adds a regular expression for all of the text; `words` explains it.
    #[must_use]
    pub const fn pattern(self, regex: &'static str, words: &'static str) -> Self {
        Self {
            pattern: Some((regex, words)),
            ..self
        }
    }

    /// Accepts only `choices`.
    #[must_use]
    pub const fn one_of(self, choices: &'static [&'static str]) -> Self {
        Self {
            choices,
            may_be_empty: false,
            ..self
        }
    }

    /// Adds usual values.
    #[must_use]
    pub const fn examples(self, examples: &'static [&'static str]) -> Self {
        Self { examples, ..self }
    }

    /// Refuses the values of `refused`, for the reason given with each.
    #[must_use]
    pub const fn refuse(self, refused: &'static [(&'static str, &'static str)]) -> Self {
        Self { refused, ..self }
    }

    /// Adds a rule in code.
    #[must_use]
    pub const fn check(self, check: Check) -> Self {
        Self {
            check: Some(check),
            ..self
        }
    }

    /// Sets the largest number of characters.
    #[must_use]
    pub const fn max_chars(self, max_chars: usize) -> Self {
        Self { max_chars, ..self }
    }

    /// Keeps the value out of messages.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}
