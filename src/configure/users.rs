//! Users, made by the image's own tools.

use std::collections::BTreeSet;

use super::home::{self, Entry};
use super::password::hash;
use super::{ConfigureError, Context};
use crate::accounts;
use crate::model::{Password, User};

const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];
/// Groups whose members may use sudo: Debian's first, that of others second.
const SUDO_GROUPS: [&str; 2] = ["sudo", "wheel"];

/// Makes the template's users, or changes those that a package made.
pub(super) fn create(context: &Context<'_>) -> Result<(), ConfigureError> {
    for user in &context.request.template.system.users {
        let groups = groups(context, user)?;
        for group in &groups {
            if !group_names(context)?.contains(group) {
                context
                    .tool(["groupadd", "--", group])
                    .map_err(ConfigureError::user(&user.name))?;
            }
        }
        add(context, user, &groups)?;
        set_password(context, user)?;
        if let Some(days) = user.password_max_age_days {
            context
                .tool(["chage", "--maxdays", &days.to_string(), "--", &user.name])
                .map_err(ConfigureError::user(&user.name))?;
        }
    }
    Ok(())
}

/// Sets the programs that replace a login shell; each may be one of the template's own files.
pub(super) fn set_startup_scripts(context: &Context<'_>) -> Result<(), ConfigureError> {
    for user in &context.request.template.system.users {
        if let Some(program) = &user.startup_script {
            require(context, user, "startupScript", program)?;
            context
                .tool(["usermod", "--shell", program, "--", &user.name])
                .map_err(ConfigureError::user(&user.name))?;
        }
    }
    Ok(())
}

/// Gives the supplementary groups of `user`, with that for sudo.
fn groups(context: &Context<'_>, user: &User) -> Result<Vec<String>, ConfigureError> {
    let mut groups = user.groups.clone();
    if user.sudo {
        let existing = group_names(context)?;
        let Some(group) = SUDO_GROUPS.into_iter().find(|group| existing.contains(*group)) else {
            return Err(ConfigureError::NoSudo {
                user: user.name.clone(),
            });
        };
        if !context.root.exists("/usr/bin/sudo")? {
            let name = &user.name;
            context.work.progress.note(&format!(
                "user {name} may use sudo, but the image has no sudo; add the package sudo"
            ));
        }
        groups.push(group.to_owned());
    }
    let mut seen = BTreeSet::new();
    groups.retain(|group| seen.insert(group.clone()));
    Ok(groups)
}

fn add(context: &Context<'_>, user: &User, groups: &[String]) -> Result<(), ConfigureError> {
    let before = Entry::find(context, &user.name)?;
    let exists = before.is_some();
    let mut argv: Vec<String> = match exists {
        true => vec!["usermod".into()],
        false => vec!["useradd".into(), "--create-home".into()],
    };
    let shell = match &user.shell {
        Some(shell) => {
            require(context, user, "shell", shell)?;
            Some(shell.clone())
        }
        None if exists => None,
        None => default_shell(context)?,
    };
    if let Some(shell) = shell {
        argv.extend(["--shell".to_owned(), shell]);
    }
    if let Some(home) = user.home.as_ref().filter(|_| !exists) {
        argv.extend(["--home".to_owned(), home.clone()]);
    }
    if !groups.is_empty() {
        argv.extend(["--groups".to_owned(), groups.join(",")]);
        if exists {
            argv.push("--append".to_owned());
        }
    }
    if !exists || argv.len() > 1 {
        argv.extend(["--".to_owned(), user.name.clone()]);
        context.tool(argv).map_err(ConfigureError::user(&user.name))?;
    }
    before.map_or(Ok(()), |before| home::set(context, user, &before))
}

/// Sets the password through standard input; without one the account is locked, never empty.
fn set_password(context: &Context<'_>, user: &User) -> Result<(), ConfigureError> {
    let name = &user.name;
    let result = match &user.password {
        Password::Locked => context.tool(["usermod", "--lock", "--", name]),
        Password::Hashed(hash) => context.tool_with_input(["chpasswd", "--encrypted"], &line(user, hash)?),
        Password::Plain { text, method } => {
            let hashed = hash(text, *method, context.request.seed, name);
            let hashed = hashed.map_err(|reason| ConfigureError::Password {
                user: name.clone(),
                reason,
            })?;
            context.tool_with_input(["chpasswd", "--encrypted"], &line(user, &hashed)?)
        }
    };
    result.map_err(ConfigureError::user(name))
}

/// Gives a line for chpasswd(8).
fn line(user: &User, secret: &str) -> Result<String, ConfigureError> {
    if secret.is_empty() || secret.contains(['\n', '\r', '\0']) {
        return Err(ConfigureError::Password {
            user: user.name.clone(),
            reason: "it is empty or contains a line break".to_owned(),
        });
    }
    Ok(format!("{}:{secret}\n", user.name))
}

fn default_shell(context: &Context<'_>) -> Result<Option<String>, ConfigureError> {
    for shell in SHELLS {
        if context.root.exists(shell)? {
            return Ok(Some(shell.to_owned()));
        }
    }
    Ok(None)
}

/// Checks that a program that a user starts with exists; without it the user cannot log in.
fn require(context: &Context<'_>, user: &User, field: &'static str, program: &str) -> Result<(), ConfigureError> {
    const REGULAR: u32 = libc::S_IFREG;
    let mode = context.root.mode(program)?;
    if program.starts_with('/') && mode.is_some_and(|mode| mode & libc::S_IFMT == REGULAR && mode & 0o111 != 0) {
        return Ok(());
    }
    Err(ConfigureError::NoProgram {
        user: user.name.clone(),
        field,
        program: program.to_owned(),
    })
}

/// Gives the names of the image's groups.
fn group_names(context: &Context<'_>) -> Result<BTreeSet<String>, ConfigureError> {
    let text = context.root.read(accounts::GROUP)?.unwrap_or_default();
    let names = accounts::groups(&text).map(|group| String::from_utf8_lossy(group.name).into_owned());
    Ok(names.collect())
}
