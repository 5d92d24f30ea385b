//! `oic new`.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use console::Term;

use crate::configure;
use crate::durable::PathError;
use crate::model::HashMethod;
use crate::package::{Arch, Sha256};
use crate::provider::{Provider, Providers};
use crate::template::{self, Draft, DraftUser, TemplateSource, Variables};
use crate::yaml::{Source, did_you_mean};

use super::environment::Environment;
use super::error::{CommandError, print_line};
use super::interrupt::Interrupt;
use super::{GlobalOptions, new_file, templates};

/// The distribution that is proposed, on x86-64.
const FIRST_CHOICE: &str = "debian-debian13-x86_64";
const DEFAULT_OUTPUT: &str = "raw";

/// Write a template of your own, with comments
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic new my-template.yml                                       asks at a terminal
  oic new my.yml --provider ubuntu-ubuntu24-x86_64 --user ann   asks only for what no option says
  oic new my.yml --yes --packages openssh-server,curl           asks nothing: defaults for the rest

The password is stored as a hash. The file is checked before it is written; build it with oic build.")]
pub struct NewArgs {
    /// Where to write it
    #[arg(value_hint = ValueHint::FilePath, default_value = "my-template.yml")]
    file: PathBuf,
    /// Provider id of the distribution ({os}-{dist}-{arch})
    #[arg(long, value_name = "PROVIDER_ID")]
    provider: Option<String>,
    /// Name of image and host [default: the file's name]
    #[arg(long)]
    name: Option<String>,
    /// Size of the disk, such as 8GiB [default: that of the distribution]
    #[arg(long)]
    size: Option<String>,
    /// Login name of the first user, who may use sudo; empty for none
    #[arg(long)]
    user: Option<String>,
    /// Packages besides those that boot the image (may be repeated)
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    packages: Option<Vec<String>>,
    /// What to deliver: raw, raw.gz, qcow2, ... [default: raw] (may be repeated)
    #[arg(long, value_name = "FORMAT,...", value_delimiter = ',')]
    output: Option<Vec<String>>,
    /// Ask nothing
    #[arg(short, long)]
    yes: bool,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
}

/// Asks for what no option says; with `--yes`, or without a terminal, it takes the defaults.
struct Questions(Option<Term>);

impl Questions {
    fn new(yes: bool) -> Self {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Self((is_terminal && !yes).then(Term::stderr))
    }

    /// Gives `given`, or what the user answers; an empty answer is `default`.
    fn text(&self, given: Option<&str>, question: &str, default: &str) -> Result<String, CommandError> {
        if let Some(given) = given {
            return Ok(given.to_owned());
        }
        let Some(terminal) = &self.0 else {
            return Ok(default.to_owned());
        };
        let shown = match default {
            "" => format!("{question}: "),
            default => format!("{question} [{default}]: "),
        };
        let answer = terminal.write_str(&shown).and_then(|()| terminal.read_line());
        let answer = answer.map_err(unreadable)?;
        Ok(match answer.trim() {
            "" => default.to_owned(),
            answer => answer.to_owned(),
        })
    }

    /// Splits what [`Questions::text`] gives at commas and blanks.
    fn list(&self, given: Option<&[String]>, question: &str, default: &str) -> Result<Vec<String>, CommandError> {
        if let Some(given) = given {
            return Ok(given.to_vec());
        }
        let answer = self.text(None, question, default)?;
        let words = answer.split([',', ' ']).filter(|word| !word.is_empty());
        Ok(words.map(str::to_owned).collect())
    }

    /// Asks for a password, twice, without showing it. `None` if it is empty or cannot be asked for.
    fn password(&self, user: &str) -> Result<Option<String>, CommandError> {
        let Some(terminal) = &self.0 else { return Ok(None) };
        loop {
            let ask = |question: &str| {
                let asked = terminal.write_str(question).and_then(|()| terminal.read_secure_line());
                asked.map_err(unreadable)
            };
            let first = ask(&format!("Password of {user} (empty: none): "))?;
            if first.is_empty() {
                return Ok(None);
            }
            if ask("The same again: ")? == first {
                return Ok(Some(first));
            }
            terminal.write_line("These differ.").map_err(unreadable)?;
        }
    }
}

fn unreadable(error: std::io::Error) -> CommandError {
    CommandError::failed(format!("the terminal cannot be read: {error}")).hint(Some("answer with options, and --yes"))
}

/// Asks, checks and writes.
pub fn run(global: &GlobalOptions, args: &NewArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let file = &args.file;
    if !new_file::is_yaml(file) {
        let error = CommandError::usage(format!("{} does not end in .yml or .yaml", file.display()));
        return Err(error.hint(Some("a template with another name is refused when it is built")));
    }
    let environment = Environment::load(global, None)?;
    let providers = templates::providers(&environment)?;
    let questions = Questions::new(args.yes);
    let provider = provider(&providers, &questions, args.provider.as_deref())?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = questions.text(args.name.as_deref(), "Name of image and host", &stem)?;
    let size = questions.text(
        args.size.as_deref(),
        "Size of the disk, such as 8GiB (empty: the distribution's default)",
        "",
    )?;
    let user = questions.text(args.user.as_deref(), "Login name of the first user (empty: none)", "")?;
    let password = match user.is_empty() {
        true => None,
        false => questions.password(&user)?,
    };
    let hash = password.map(|password| hash(&password, &user)).transpose()?;
    let packages = questions.list(args.packages.as_deref(), "Packages to add", "")?;
    let outputs = questions.list(
        args.output.as_deref(),
        "What to deliver (raw, raw.gz, qcow2, ...)",
        DEFAULT_OUTPUT,
    )?;
    let draft = Draft {
        provider,
        name: &name,
        size: (!size.is_empty()).then_some(size.as_str()),
        user: (!user.is_empty()).then_some(DraftUser {
            name: &user,
            password: hash.as_deref(),
        }),
        packages: &packages,
        outputs: &outputs,
    };
    let text = draft.to_yaml();
    let source = TemplateSource::Text(Source::new(file, text.clone()));
    template::load(&source, &providers, &Variables::new())
        .map_err(|findings| CommandError::findings("these answers do not make a template", &findings))?;
    // Writing ends within milliseconds; a signal does not cut it short.
    let _cancel = interrupt.cancel();
    // It can hold the hash of a password.
    new_file::write(file, &text, 0o600, args.force)?;
    let file = file.display();
    print_line(&format!("wrote {file}; next: edit it, then sudo oic build {file}"))
}

/// Finds the provider that is given, or asks for one of the list.
fn provider<'a>(
    providers: &'a Providers,
    questions: &Questions,
    given: Option<&str>,
) -> Result<&'a Provider, CommandError> {
    let ids: Vec<String> = providers.all().iter().map(Provider::id).collect();
    if let (None, Some(terminal)) = (given, &questions.0) {
        for id in &ids {
            terminal.write_line(&format!("  {id}")).map_err(unreadable)?;
        }
    }
    let of_host = Arch::host();
    let own = providers.all().iter().find(|provider| Some(provider.arch) == of_host);
    let default = match ids.iter().any(|id| id == FIRST_CHOICE) && of_host == Some(Arch::X86_64) {
        true => FIRST_CHOICE.to_owned(),
        false => own.map(Provider::id).unwrap_or_default(),
    };
    let id = questions.text(given, "Distribution", &default)?;
    let unknown = |_| {
        let near = did_you_mean(&id, ids.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean {near}?"),
            None => format!("one of: {}", ids.join(", ")),
        };
        CommandError::failed(format!("there is no distribution {id:?}")).hint(Some(hint))
    };
    providers.by_id(&id).map_err(unknown)
}

/// Makes the crypt(5) string of `password`, with a salt from the kernel's random numbers (random(4)).
fn hash(password: &str, user: &str) -> Result<String, CommandError> {
    let device = Path::new("/dev/urandom");
    let mut seed = [0; 32];
    File::open(device)
        .and_then(|mut random| random.read_exact(&mut seed))
        .map_err(PathError::on("read", device))?;
    configure::hash_password(password, HashMethod::Sha512, Sha256(seed), user).map_err(CommandError::failed)
}
