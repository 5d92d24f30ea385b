//! The names of the format.

use crate::repo;

/// Debian repositories.
#[derive(Debug, Clone, Copy)]
pub struct Deb;

/// The load of one repository.
pub type Session<'a> = repo::Session<'a, Deb>;

/// The packages of one repository.
pub type LoadedIndex = repo::Index<Deb>;
