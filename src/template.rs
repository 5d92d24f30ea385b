//! WHAT to build: the template, merged over its provider's default and validated.

pub mod model;
