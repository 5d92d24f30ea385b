//! `oic schema`.

use clap::{Args, ValueEnum};

use crate::yaml::schema::{Field, json_schema, markdown};
use crate::{config, provider, template};

use super::error::{CommandError, print_line};

/// Print what a file may hold: a JSON Schema for editors, or a reference for people
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic schema template > oic-template.schema.json     for the YAML extension of an editor
  oic schema config --format markdown                as documentation")]
pub struct SchemaArgs {
    /// Which file
    #[arg(value_enum)]
    file: File,
    /// How it is printed
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum File {
    /// A template
    Template,
    /// The configuration file
    Config,
    /// A provider.yml below config_dir
    Provider,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// JSON Schema, draft 2020-12
    Json,
    /// Tables
    Markdown,
}

/// Prints the schema.
pub fn run(args: &SchemaArgs) -> Result<(), CommandError> {
    let (title, name, fields): (_, _, &'static [Field]) = match args.file {
        File::Template => ("oic template", "template", template::schema::TEMPLATE),
        File::Config => ("oic configuration", "config", config::fields()),
        File::Provider => ("oic provider", "provider", provider::SCHEMA),
    };
    match args.format {
        Format::Markdown => print_line(markdown(fields).trim()),
        Format::Json => {
            let schema = json_schema(title, &format!("urn:oic:schema:{name}"), fields);
            print_line(&serde_json::to_string_pretty(&schema).map_err(CommandError::failed)?)
        }
    }
}
