//! `oic templates`.

use clap::Args;
use serde::Serialize;

use crate::template::samples;

use super::Format;
use super::error::{CommandError, print_data, print_line, print_versioned};

/// List and search the templates that oic brings, or print one of them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic templates                                               all, with what each is for
  oic templates edge                                          those with a word in name, description or keywords
  oic templates --print debian13-x86_64-minimal > my.yml      a start for one of your own
  oic templates --format json                                 for machines

Build one by its name: oic build debian13-x86_64-minimal")]
pub struct TemplatesArgs {
    /// Part of a name, description or keyword, without regard to case
    word: Option<String>,
    /// Print the text of this template
    #[arg(long, value_name = "NAME", conflicts_with_all = ["word", "format"])]
    print: Option<String>,
    /// How the list is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct Listed {
    templates: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    description: String,
}

/// Lists, searches or prints.
pub fn run(args: &TemplatesArgs) -> Result<(), CommandError> {
    if let Some(name) = &args.print {
        return print(name);
    }
    let word = args.word.as_deref().unwrap_or_default().to_lowercase();
    let templates: Vec<Line> = samples()
        .iter()
        .filter_map(|sample| {
            let (name, description) = (sample.name, sample.description());
            let has_word = |text: &str| text.to_lowercase().contains(&word);
            let is_found =
                has_word(name) || has_word(&description) || sample.keywords().iter().any(|text| has_word(text));
            is_found.then_some(Line { name, description })
        })
        .collect();
    if templates.is_empty() {
        let error = CommandError::failed(format!("no template that oic brings has {word:?} in it"));
        return Err(error.hint(Some("list them all: oic templates")));
    }
    match args.format {
        Format::Json => print_versioned(&Listed { templates }),
        Format::Text => {
            let width = templates.iter().map(|line| line.name.len()).max().unwrap_or(0);
            templates
                .iter()
                .try_for_each(|line| print_line(&format!("{:width$}  {}", line.name, line.description)))
        }
    }
}

fn print(name: &str) -> Result<(), CommandError> {
    let samples = samples();
    match samples.iter().find(|sample| sample.name == name) {
        Some(sample) => print_data(sample.text.trim_end()),
        None => {
            let error = CommandError::failed(format!("oic brings no template {name:?}"));
            Err(error.near(name, samples.iter().map(|sample| sample.name)))
        }
    }
}
