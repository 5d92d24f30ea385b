//! `docs/cli-reference.md`, made from the definition of the command line.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::Cli;

const HEAD: &str = "\
# Command line

<!-- Made by `make docs` from the program's own definition; a test compares. Do not edit. -->

`os-image-composer` is the same program under its older name.
";

/// Writes the whole reference in Markdown.
pub fn markdown() -> String {
    let mut command = Cli::command();
    command.build();
    let mut text = HEAD.to_owned();
    section(&command, "oic", &mut text);
    text
}

/// Writes the section of `command` to `text`. Writing to a String cannot fail, so results are dropped here.
fn section(command: &Command, path: &str, text: &mut String) {
    let _ = write!(text, "\n## `{path}`\n\n{}.\n", about(command).trim_end_matches('.'));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let _ = write!(text, "\n```\n{usage}\n```\n");
    let is_root = path == "oic";
    let own = |arg: &&Arg| !arg.is_hide_set() && (is_root || !arg.is_global_set()) && !is_builtin(arg);
    let arguments: Vec<&Arg> = command.get_arguments().filter(own).collect();
    if !arguments.is_empty() {
        text.push_str("\n| argument | meaning |\n|---|---|\n");
        for argument in arguments {
            let _ = writeln!(text, "| {} | {} |", names(argument), meaning(argument));
        }
    }
    let subcommands: Vec<&Command> = command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
        .collect();
    if !subcommands.is_empty() {
        text.push_str("\n| command | what it does |\n|---|---|\n");
        for sub in &subcommands {
            let full = format!("{path} {}", sub.get_name());
            let anchor = full.replace(' ', "-");
            let _ = writeln!(text, "| [`{full}`](#{anchor}) | {} |", about(sub));
        }
    }
    if let Some(after) = command.get_after_help() {
        let _ = write!(text, "\n```text\n{}\n```\n", after.to_string().trim_end());
    }
    for sub in subcommands {
        section(sub, &format!("{path} {}", sub.get_name()), text);
    }
}

fn is_builtin(argument: &Arg) -> bool {
    matches!(argument.get_id().as_str(), "help" | "version")
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn names(argument: &Arg) -> String {
    let value = argument
        .get_value_names()
        .and_then(|names| names.first())
        .map(ToString::to_string);
    if argument.is_positional() {
        return format!(
            "`{}`",
            value.unwrap_or_else(|| argument.get_id().as_str().to_uppercase())
        );
    }
    let mut names = Vec::new();
    if let Some(short) = argument.get_short() {
        names.push(format!("-{short}"));
    }
    if let Some(long) = argument.get_long() {
        names.push(format!("--{long}"));
    }
    let mut text = names.join("`, `");
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    if let Some(value) = value.filter(|_| takes_value) {
        text += &format!(" {value}");
    }
    format!("`{text}`")
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let mut text = help.replace('|', "\\|");
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let is_flag = matches!(argument.get_action(), ArgAction::SetTrue | ArgAction::SetFalse);
    let are_told = argument
        .get_possible_values()
        .iter()
        .all(|value| help.contains(value.get_name()));
    if !are_told && !is_flag {
        text += &format!(": {}", values.join(", "));
    }
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    if !defaults.is_empty() && !is_flag {
        text += &format!(" [default: {}]", defaults.join(", "));
    }
    text
}
