//! `configurations`: commands of the template, run by the image's own shell.

use super::{ConfigureError, Context, finish};
use crate::install;
use crate::model::{Configuration, When};
use crate::root::Root;
use crate::sandbox::{BUILD_MACHINE_ID, Command, MACHINE_ID, Sandbox, SandboxError, SandboxSpec};

/// The directory that all commands share, with the template's own files there.
const TEMPORARY: &str = "/tmp";

/// Runs the commands that come before the initrd.
pub(super) fn run(context: &Context<'_>) -> Result<(), ConfigureError> {
    run_those(context, |when| matches!(when, None | Some(When::BeforeInitrd)))
}

/// Runs the commands that come after the initrd.
pub(super) fn run_last(context: &Context<'_>) -> Result<(), ConfigureError> {
    run_those(context, |when| when == Some(When::Last))
}

fn run_those(context: &Context<'_>, is_due: fn(Option<When>) -> bool) -> Result<(), ConfigureError> {
    let commands = context.request.template.system.commands.iter().enumerate();
    let due: Vec<_> = commands.filter(|(_, command)| is_due(command.when)).collect();
    if due.is_empty() {
        return Ok(());
    }
    let spec = spec(context)?;
    show_machine_id(&context.root)?;
    for (index, command) in due {
        run_one(context, &spec, index + 1, command)?;
    }
    Ok(())
}

/// Describes the sandbox of a command that does not reach the network.
fn spec(context: &Context<'_>) -> Result<SandboxSpec, ConfigureError> {
    let mut spec = context.sandbox.spec().clone();
    spec.keeps_tmp = true;
    if !context.root.exists(TEMPORARY)? {
        context.root.create_directory(TEMPORARY)?;
        context.root.set_mode(TEMPORARY, 0o1777)?;
    }
    spec.files.extend(context.request.policy.cloned());
    spec.files.extend(install::generic_initrds(&context.root)?);
    spec.files.extend(context.request.initrd.cloned());
    spec.own_release = true;
    if let Some(hostname) = &context.request.template.system.hostname {
        spec.hostname.clone_from(hostname);
    }
    Ok(spec)
}

/// Runs the command with this number, from 1. Its text is one argument of the image's own shell, so the host's shell never
/// sees it.
fn run_one(
    context: &Context<'_>,
    spec: &SandboxSpec,
    number: usize,
    command: &Configuration,
) -> Result<(), ConfigureError> {
    let mut spec = spec.clone();
    let mut words = Command::new(["/bin/bash", "-c", command.text.as_str()]);
    if command.network {
        let Some(proxies) = context.request.network else {
            return Err(ConfigureError::NoNetwork { number });
        };
        spec.network = true;
        words.env.extend(proxies.variables());
    }
    let own = command.env.iter();
    words.env.extend(own.map(|(name, value)| (name.into(), value.into())));
    let mut show = |line: &str| context.work.progress.note(line);
    let ran = Sandbox::new(spec).run(&words, &mut show, context.work.cancel);
    ran.map(drop).map_err(|error| match error {
        SandboxError::Cancelled(cancelled) => ConfigureError::Cancelled(cancelled),
        source => ConfigureError::Command {
            number,
            source: Box::new(source),
        },
    })
}

/// Gives the image an id while commands run, in a file that they may replace: what they derive from it is the same in
/// each build.
fn show_machine_id(root: &Root) -> Result<(), ConfigureError> {
    let is_set = root.read(MACHINE_ID)?.is_some_and(|id| id.trim_ascii().len() == 32);
    if is_set || root.is_spared(MACHINE_ID) || !root.exists(finish::SYSTEMD)? {
        return Ok(());
    }
    Ok(root.write(MACHINE_ID, BUILD_MACHINE_ID, 0o444)?)
}
