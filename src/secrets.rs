//! Private keys and identities that packages draw while they are installed. All copies of an image, and all images above
//! one layer, would share them.
//!
//! [`reset`] removes the known ones, and puts units into the image that draw them when a machine first boots. [`find`]
//! finds others, so that the user learns of them.

mod known;
mod owners;
mod scan;

pub use known::{is_known, reset};
pub use owners::Contents;
pub use scan::{Place, find, kind};
