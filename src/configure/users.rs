//! Users, made by the image's own tools.

use std::collections::BTreeSet;

use super::home::{self, Entry};
use super::password::hash;
use super::{ConfigureError, Context, groups, keys};
use crate::model::{Password, User};

const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];
/// What accounts of services have instead (nologin(8)).
const NO_SHELLS: [&str; 3] = ["/usr/sbin/nologin", "/sbin/nologin", "/bin/false"];
/// Groups whose members may use sudo: Debian's first, that of others second.
const SUDO_GROUPS: [&str; 2] = ["sudo", "wheel"];

/// Makes the template's users, or changes those that a package made.
pub(super) fn create(context: &Context<'_>) -> Result<(), ConfigureError> {
    for user in &context.request.template.system.users {
        let groups = supplementary(context, user)?;
        for group in &groups {
            if groups::gid(context, group)?.is_none() {
                context
                    .tool(["groupadd", "--", group])
                    .map_err(ConfigureError::user(&user.name))?;
            }
        }
        add(context, user, &groups)?;
        set_password(context, user)?;
        set_dates(context, user)?;
        keys::write(context, user)?;
    }
    Ok(())
}

/// Sets the dates of shadow(5). A day goes to chage(1) as a number, which no time zone changes.
fn set_dates(context: &Context<'_>, user: &User) -> Result<(), ConfigureError> {
    // With a locked password alone, keys would still be accepted (usermod(8), `--lock`).
    let expires = if user.locked { Some(1) } else { user.expires_days };
    for (option, days) in [("--maxdays", user.password_max_age_days), ("--expiredate", expires)] {
        if let Some(days) = days {
            context
                .tool(["chage", option, &days.to_string(), "--", &user.name])
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
fn supplementary(context: &Context<'_>, user: &User) -> Result<Vec<String>, ConfigureError> {
    let mut groups = user.groups.clone();
    if user.sudo {
        let mut found = None;
        for group in SUDO_GROUPS {
            if found.is_none() && groups::gid(context, group)?.is_some() {
                found = Some(group);
            }
        }
        let Some(group) = found else {
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
    let mut argv = match &before {
        Some(before) => {
            check_id(user, before)?;
            vec!["usermod".to_owned()]
        }
        None => new_account(context, user)?,
    };
    if let Some(shell) = &user.shell {
        require(context, user, "shell", shell)?;
        argv.extend(["--shell".to_owned(), shell.clone()]);
    }
    if !groups.is_empty() {
        argv.extend(["--groups".to_owned(), groups.join(",")]);
        if before.is_some() {
            argv.push("--append".to_owned());
        }
    }
    if before.is_none() || argv.len() > 1 {
        argv.extend(["--".to_owned(), user.name.clone()]);
        context.tool(argv).map_err(ConfigureError::user(&user.name))?;
    }
    before.map_or(Ok(()), |before| home::set(context, user, &before))
}

/// Returns the start of the command that makes an account.
fn new_account(context: &Context<'_>, user: &User) -> Result<Vec<String>, ConfigureError> {
    let mut argv: Vec<String> = vec!["useradd".into()];
    let home = match (&user.home, user.system) {
        // As sysusers.d(5) has it.
        (None, true) => Some("/".to_owned()),
        (home, _) => {
            argv.push("--create-home".into());
            home.clone()
        }
    };
    if user.system {
        argv.push("--system".into());
    }
    if let Some(uid) = user.uid {
        argv.extend(["--uid".into(), uid.to_string()]);
    }
    // A new group of the same name could not be made.
    if groups::gid(context, &user.name)?.is_some() {
        argv.extend(["--gid".into(), user.name.clone()]);
    }
    if let Some(home) = home {
        argv.extend(["--home".into(), home]);
    }
    let shells = if user.system { &NO_SHELLS[..] } else { &SHELLS };
    if user.shell.is_none()
        && let Some(shell) = default_shell(context, shells)?
    {
        argv.extend(["--shell".into(), shell]);
    }
    Ok(argv)
}

/// Refuses another id than the one that the user has: files of packages may belong to it.
fn check_id(user: &User, before: &Entry) -> Result<(), ConfigureError> {
    match user.uid.filter(|wanted| *wanted != before.owner.uid) {
        None => Ok(()),
        Some(wanted) => Err(ConfigureError::TakenId {
            kind: "user",
            name: user.name.clone(),
            wanted,
            found: before.owner.uid,
        }),
    }
}

/// Sets the password through standard input; without one the account is locked, never empty.
fn set_password(context: &Context<'_>, user: &User) -> Result<(), ConfigureError> {
    let name = &user.name;
    let result = match &user.password {
        // No password, and not locked: some builds of sshd refuse the keys of a locked account.
        Password::Locked if !user.ssh_keys.is_empty() && !user.locked => {
            context.tool(["usermod", "--password", "*", "--", name])
        }
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
    let locked = result.and_then(|()| match user.locked {
        true => context.tool(["usermod", "--lock", "--", name]),
        false => Ok(()),
    });
    locked.map_err(ConfigureError::user(name))
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

/// Returns the first of `shells` that the image has.
fn default_shell(context: &Context<'_>, shells: &[&str]) -> Result<Option<String>, ConfigureError> {
    for shell in shells {
        if context.root.exists(shell)? {
            return Ok(Some((*shell).to_owned()));
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
