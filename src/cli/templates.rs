//! What commands share about templates: their names, their variables, and the display of findings.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, ValueHint};

use crate::durable::PathError;
use crate::pipeline::{BuildError, Selecting};
use crate::provider::mirror::Mirrors;
use crate::provider::{Provider, Providers};
use crate::store::sweep;
use crate::template::{self, Loaded, Override, TemplateSource, Variables};
use crate::work::Work;
use crate::yaml::{self, Findings, Source};

use super::environment::{Environment, processors};
use super::error::CommandError;
use super::interrupt::Interrupt;
use super::{GlobalOptions, progress};

/// Values for a template: of its variables, and of its fields.
#[derive(Debug, Clone, Default, Args)]
pub struct ValueArgs {
    /// Value of ${NAME} in the template; beats --vars and OIC_VAR_NAME of the environment
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pairs: Vec<String>,
    /// YAML file with values of variables: a map of names to texts
    #[arg(long = "vars", value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Value of a field in the place of the template's, such as systemConfig.hostname=x or disk.partitions[0].end=2GiB
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    fields: Vec<String>,
}

/// Options of commands that ask the repositories of a template, and build nothing.
#[derive(Debug, Clone, Args)]
pub struct RepositoryArgs {
    /// Use only metadata that is cached
    #[arg(long)]
    offline: bool,
    /// Mirror of the provider's main archive, or NAME=URL for another one (may be repeated)
    #[arg(long, value_name = "URL")]
    mirror: Vec<String>,
    #[command(flatten)]
    values: ValueArgs,
}

impl RepositoryArgs {
    /// Calls `ask` with the request for the packages of `subject`, a template or the id of a provider, with the directory
    /// for short-lived files, and with where the work reports.
    pub fn ask<T>(
        &self,
        global: &GlobalOptions,
        subject: &OsStr,
        interrupt: &Interrupt,
        ask: impl FnOnce(&Selecting, &Path, Work<'_>) -> Result<T, BuildError>,
    ) -> Result<T, CommandError> {
        let environment = Environment::load(global, None)?;
        let selecting = self.selecting(&environment, subject)?;
        let (progress, cancel) = (progress::for_stderr(), interrupt.cancel());
        let work = Work {
            progress: &*progress,
            cancel: &cancel,
            threads: processors(),
        };
        let temporary = environment.temp_dir();
        sweep::temporary(&temporary);
        Ok(ask(&selecting, &temporary, work)?)
    }

    fn selecting(&self, environment: &Environment, subject: &OsStr) -> Result<Selecting, CommandError> {
        let mirrors = environment.mirrors(&self.mirror)?;
        let loaded = load_subject(environment, subject, &self.values)?;
        Ok(selecting(environment, loaded, mirrors, self.offline))
    }
}

/// Puts together what packages are chosen by: the template and what the environment says, with packages from `mirrors`.
pub fn selecting(environment: &Environment, loaded: Loaded, mirrors: Mirrors, offline: bool) -> Selecting {
    Selecting {
        loaded,
        cache_dir: environment.cache_dir(),
        work_dir: environment.work_dir(),
        workers: environment.workers(),
        network: environment.network(&mirrors),
        mirrors,
        offline,
        now: SystemTime::now(),
    }
}

/// Loads the template that `argument` names, or the default template of the provider whose id it is.
fn load_subject(environment: &Environment, argument: &OsStr, values: &ValueArgs) -> Result<Loaded, CommandError> {
    let Some((providers, provider)) = provider(environment, argument)? else {
        return load(environment, argument, values);
    };
    let source = TemplateSource::Text(Source::new(provider.id(), template::plain(&provider)));
    let source = with_fields(source, values)?;
    template::load(&source, &providers, &Variables::new()).map_err(|findings| refused(&findings))
}

/// Finds the provider whose id `argument` is, unless it is a path that exists; with all providers.
pub fn provider(environment: &Environment, argument: &OsStr) -> Result<Option<(Providers, Provider)>, CommandError> {
    let Some(id) = argument.to_str().filter(|_| !Path::new(argument).exists()) else {
        return Ok(None);
    };
    let providers = providers(environment)?;
    let found = providers.by_id(id).ok().cloned();
    Ok(found.map(|provider| (providers, provider)))
}

/// Loads the template that `argument` names, merged and validated.
pub fn load(environment: &Environment, argument: &OsStr, values: &ValueArgs) -> Result<Loaded, CommandError> {
    let source = with_fields(source(argument)?, values)?;
    let variables = variables(environment, values)?;
    template::load(&source, &providers(environment)?, &variables).map_err(|findings| refused(&findings))
}

/// Finds the source of the template that `argument` names: a file, a sample, or a stream, which is read at once.
fn source(argument: &OsStr) -> Result<TemplateSource, CommandError> {
    let unusable = |findings: Findings| CommandError::failed(findings.to_string().trim_end().to_owned());
    let path = Path::new(argument);
    if matches!(argument.to_str(), Some("-" | "/dev/stdin")) {
        let text = yaml::read_stream(Path::new("standard input"), std::io::stdin().lock());
        return text.map(TemplateSource::Text).map_err(unusable);
    }
    // What a shell makes of <(command).
    if path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd") {
        let stream = File::open(path).map_err(PathError::on("open", path))?;
        let text = yaml::read_stream(path, stream);
        return text.map(TemplateSource::Text).map_err(unusable);
    }
    TemplateSource::named(argument).map_err(unusable)
}

/// Puts the fields of the command line into the template of `source`.
fn with_fields(source: TemplateSource, values: &ValueArgs) -> Result<TemplateSource, CommandError> {
    let fields = values.fields.iter().map(|text| Override::parse("--set", text));
    let fields = fields.collect::<Result<Vec<_>, _>>();
    let fields = fields.map_err(|reason| CommandError::usage(format!("--set: {reason}")))?;
    Ok(match fields.is_empty() {
        true => source,
        false => TemplateSource::With(Box::new(source), fields),
    })
}

/// Collects variables from the environment, then files, then flags: later ones win.
fn variables(environment: &Environment, args: &ValueArgs) -> Result<Variables, CommandError> {
    let mut variables = Variables::new();
    for (name, value) in environment.template_variables() {
        variables.set(&name, &value).map_err(CommandError::failed)?;
    }
    for file in &args.files {
        let read = variables.read(file);
        read.map_err(|findings| CommandError::failed(format!("--vars: {}", findings.to_string().trim_end())))?;
    }
    for pair in &args.pairs {
        let set = variables.set_pair(pair);
        set.map_err(|reason| CommandError::usage(format!("--var: {reason}")))?;
    }
    Ok(variables)
}

/// Loads the providers that oic brings, overlaid with those of `config_dir`.
pub fn providers(environment: &Environment) -> Result<Providers, CommandError> {
    let unusable = |findings: Findings| {
        CommandError::failed(format!(
            "the provider data cannot be used\n\n{}",
            findings.to_string().trim_end()
        ))
    };
    let providers = Providers::load(environment.config_dir().as_deref()).map_err(unusable)?;
    Ok(providers.trusting(&environment.trusted_keys()?))
}

/// Makes one error of all findings in a template.
pub fn refused(findings: &Findings) -> CommandError {
    CommandError::findings("the template cannot be used", findings)
}
