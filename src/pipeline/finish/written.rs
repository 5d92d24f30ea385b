//! The result of writing an image, before anything of it is delivered.

use std::path::PathBuf;

use crate::image::artifacts::Beside;
use crate::image::raw::RawSummary;

/// An image that is complete.
pub struct Written<'a> {
    /// The file.
    pub path: PathBuf,
    /// What it has.
    pub summary: RawSummary,
    /// Files to deliver with it.
    pub beside: Vec<Beside<'a>>,
    /// What the user should know.
    pub warnings: Vec<String>,
}
