//! Tests that need neither root nor network: `make check` runs them.

mod architecture;
mod cache_commands;
mod chains;
mod commands;
mod config;
mod disk_commands;
mod hostile_templates;
mod image_doors;
mod invalid_templates;
mod newer_fields;
mod rpm_commands;
mod rpm_oracle;
mod schema;
mod semantics;
pub mod signals;
mod signing;
mod sweeping;
mod template_commands;
mod templates;
