//! `oic completion`.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, Subcommand};
use clap_complete::Shell;

use crate::durable::{self, PathError};

use super::error::{CommandError, print_line};
use super::{Cli, PROGRAM_NAMES};

/// Make your shell complete commands, options and file names
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic completion install                 for the shell you use ($SHELL)
  oic completion print zsh > _oic        to place it yourself")]
pub struct CompletionArgs {
    #[command(subcommand)]
    command: CompletionCommand,
}

#[derive(Debug, Subcommand)]
enum CompletionCommand {
    Install(InstallArgs),
    Print(PrintArgs),
}

/// Install the completion script
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic completion install
  oic completion install --shell fish
  sudo oic completion install --shell bash --system    for all users

Both names of the program are completed: oic and os-image-composer.")]
struct InstallArgs {
    /// bash, zsh, fish or powershell [default: the one that $SHELL names]
    #[arg(long, value_parser = parse_shell)]
    shell: Option<Shell>,
    /// Replace a file that has other content
    #[arg(long)]
    force: bool,
    /// For all users, instead of for you
    #[arg(long)]
    system: bool,
}

/// Print the completion script
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic completion print bash
  oic completion print bash --name os-image-composer")]
struct PrintArgs {
    /// bash, zsh, fish or powershell
    #[arg(value_parser = parse_shell)]
    shell: Shell,
    /// The name that the program is called by
    #[arg(long, default_value = "oic", value_parser = PROGRAM_NAMES)]
    name: String,
}

fn parse_shell(text: &str) -> Result<Shell, String> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        "powershell" => Ok(Shell::PowerShell),
        _ => Err("it is none of bash, zsh, fish and powershell".to_owned()),
    }
}

/// Runs the command.
pub fn run(args: &CompletionArgs) -> Result<(), CommandError> {
    match &args.command {
        CompletionCommand::Install(args) => install(args),
        CompletionCommand::Print(args) => print_line(script(args.shell, &args.name).trim_end()),
    }
}

fn script(shell: Shell, name: &str) -> String {
    let generate = |name: &str| {
        let mut bytes = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), name, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    if shell != Shell::Bash {
        return generate(name);
    }
    // clap_complete 4.6 spells a hyphen in two ways in one script for bash, which then completes nothing.
    let plain = name.replace('-', "_");
    let is_registration = |line: &str| line.trim_start().starts_with("complete ");
    generate(&plain)
        .lines()
        .map(|line| match line.strip_suffix(&plain) {
            Some(start) if is_registration(line) => format!("{start}{name}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

fn install(args: &InstallArgs) -> Result<(), CommandError> {
    let shell = match args.shell {
        Some(shell) => shell,
        None => own_shell()?,
    };
    let directory = directory(shell, args.system)?;
    fs::create_dir_all(&directory).map_err(PathError::on("create", &directory))?;
    for name in PROGRAM_NAMES {
        place(
            &directory.join(file_name(shell, name)),
            &script(shell, name),
            args.force,
        )?;
    }
    match advice(shell, &directory, args.system) {
        Some(advice) => print_line(&advice),
        None => Ok(()),
    }
}

fn place(path: &Path, script: &str, force: bool) -> Result<(), CommandError> {
    match fs::read(path) {
        Ok(found) if found == script.as_bytes() => return print_line(&format!("{} is up to date", path.display())),
        Ok(_) if !force => {
            let error = CommandError::failed(format!("{} has other content", path.display()));
            return Err(error.hint(Some("replace it with --force")));
        }
        _ => {}
    }
    durable::write_public_file(path, script)?;
    print_line(&format!("wrote {}", path.display()))
}

fn own_shell() -> Result<Shell, CommandError> {
    let path = env::var_os("SHELL").unwrap_or_default();
    let name = Path::new(&path).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let name = if name == "pwsh" { "powershell" } else { name };
    parse_shell(name).map_err(|_| {
        let error = CommandError::usage("$SHELL does not say which shell you use");
        error.hint(Some("name it: --shell bash, zsh, fish or powershell"))
    })
}

/// Gives the directory where the shell looks for completions.
fn directory(shell: Shell, system: bool) -> Result<PathBuf, CommandError> {
    if system {
        let path = match shell {
            Shell::Bash => "/usr/share/bash-completion/completions",
            Shell::Zsh => "/usr/local/share/zsh/site-functions",
            Shell::Fish => "/usr/share/fish/vendor_completions.d",
            _ => "/usr/local/share/os-image-composer",
        };
        return Ok(path.into());
    }
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("HOME").ok_or_else(|| {
        let error = CommandError::failed("your home directory is not known: HOME is not set");
        error.hint(Some("oic completion print writes the script to standard output"))
    })?;
    let data = absolute("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
    let config = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    Ok(match shell {
        Shell::Bash => data.join("bash-completion/completions"),
        Shell::Zsh => home.join(".zsh/completion"),
        Shell::Fish => config.join("fish/completions"),
        _ => config.join("powershell"),
    })
}

fn file_name(shell: Shell, name: &str) -> String {
    match shell {
        Shell::Zsh => format!("_{name}"),
        Shell::Fish => format!("{name}.fish"),
        Shell::PowerShell => format!("{name}.ps1"),
        _ => name.to_owned(),
    }
}

/// Gives the steps that the user still has to take by hand.
fn advice(shell: Shell, directory: &Path, system: bool) -> Option<String> {
    let directory = directory.display();
    match shell {
        Shell::Zsh if !system => Some(format!("add to ~/.zshrc, before compinit:  fpath=({directory} $fpath)")),
        Shell::PowerShell => Some(format!("add to your $PROFILE:  . {directory}/oic.ps1")),
        Shell::Bash => Some("open a new shell; it needs the package bash-completion".to_owned()),
        _ => None,
    }
}
