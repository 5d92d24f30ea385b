//! YAML with positions: every file that people write (templates, configuration,
//! provider data) is parsed into a [`Node`] tree, checked against a table of
//! [`schema::Field`]s, and everything wrong with it is reported at once as [`Findings`].
//!
//! Invariant: no text, however hostile, panics, nests deeper than
//! [`parse::MAX_DEPTH`] or grows beyond [`parse::MAX_NODES`].

mod emit;
mod finding;
mod format;
pub mod parse;
mod place;
mod read;
pub mod schema;
mod suggest;
mod tree;

pub use emit::{EmitError, serialize, to_yaml, to_yaml_with_origins};
pub use finding::{Finding, Findings, Severity};
pub use format::format;
pub use parse::parse;
pub use place::Place;
pub use read::{read_source, read_stream};
pub use suggest::did_you_mean;
pub use tree::{Key, Node, Source, Span, Value};
