//! Why an image could not be configured.

use std::path::PathBuf;

use crate::cancel::Cancelled;
use crate::durable::PathError;
use crate::hint::Hint;
use crate::sandbox::{CONFINED, SandboxError};

/// Why [`super::configure`] failed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// A command of the template failed.
    #[error("command {number} of systemConfig.configurations failed: {source}")]
    Command {
        /// Its place in the list, from 1.
        number: usize,
        /// What went wrong, with the command's text and output.
        source: Box<SandboxError>,
    },
    /// A command needs the network, and the build is offline.
    #[error("command {number} of systemConfig.configurations has network: true, and the build is offline")]
    NoNetwork {
        /// Its place in the list, from 1.
        number: usize,
    },
    /// There are commands for the first boot, and nothing in the image runs them.
    #[error("systemConfig.configurations has commands for the first boot, and the image has no systemd that runs them")]
    NoSystemd,
    /// A partition is to grow, and nothing in the image can do it.
    #[error("the partition {id} is to grow when the machine boots, and the image has {missing}")]
    NoGrowth {
        /// The id of the partition.
        id: String,
        /// What is missing.
        missing: &'static str,
        /// What the author of the template can do.
        hint: &'static str,
    },
    /// A user could not be made.
    #[error("user {user}: {source}")]
    User {
        /// Login name.
        user: String,
        /// What went wrong.
        source: Box<SandboxError>,
    },
    /// A group could not be made.
    #[error("group {group}: {source}")]
    Group {
        /// Its name.
        group: String,
        /// What went wrong.
        source: Box<SandboxError>,
    },
    /// A package made a user or group with another id than the template gives it.
    #[error("{kind} {name}: the image has it already, with the id {found} and not {wanted}: a package made it")]
    TakenId {
        /// `user` or `group`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The id that the template gives.
        wanted: u32,
        /// The id that it has.
        found: u32,
    },
    /// A user has keys, and no home directory for them.
    #[error("user {user}: sshKeys has no place, because the home directory {home:?} does not exist")]
    NoHome {
        /// Login name.
        user: String,
        /// The home directory that the account names.
        home: String,
    },
    /// A user's program does not exist in the image.
    #[error("user {user}: {field} {program} does not exist in the image, or is not an executable file")]
    NoProgram {
        /// Login name.
        user: String,
        /// The template's field: `shell` or `startupScript`.
        field: &'static str,
        /// Its value.
        program: String,
    },
    /// A user is to use sudo, and nothing in the image makes that possible.
    #[error("user {user}: sudo is asked for, but the image has neither a group sudo nor a group wheel")]
    NoSudo {
        /// Login name.
        user: String,
    },
    /// A password could not be hashed.
    #[error("user {user}: the password cannot be hashed: {reason}")]
    Password {
        /// Login name.
        user: String,
        /// What went wrong, without the password.
        reason: String,
    },
    /// A file could not be copied into the image.
    #[error("systemConfig.additionalFiles: cannot copy {} to {destination}: {reason}", local.display())]
    File {
        /// The file on the host.
        local: PathBuf,
        /// Where it was to go in the image.
        destination: String,
        /// What went wrong.
        reason: String,
    },
    /// The image lacks what a setting needs.
    #[error("systemConfig.{field} {value}: {reason}")]
    Setting {
        /// The template's field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is missing.
        reason: String,
        /// What the user can do.
        hint: &'static str,
    },
    /// Units could not be switched on or off.
    #[error("systemConfig.services.{list}: {source}")]
    Services {
        /// The template's list of units.
        list: &'static str,
        /// What went wrong.
        source: Box<SandboxError>,
    },
    /// A text of the template does not fit into the file that it is for.
    #[error("{field} {value:?} cannot be written into {file}: it contains a line break or control character")]
    BadText {
        /// The template's field.
        field: &'static str,
        /// Its value.
        value: String,
        /// The image's file.
        file: &'static str,
    },
    /// A tool of the image failed.
    #[error(transparent)]
    Sandbox(SandboxError),
    /// A file of the image could not be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The user asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<SandboxError> for ConfigureError {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            error => Self::Sandbox(error),
        }
    }
}

impl ConfigureError {
    /// Makes a function for `map_err`: the tool's failure concerns `user`.
    pub(super) fn user(user: &str) -> impl Fn(SandboxError) -> Self {
        move |error| match error {
            SandboxError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            source => Self::User {
                user: user.to_owned(),
                source: Box::new(source),
            },
        }
    }

    /// Makes a function for `map_err`: the tool's failure concerns `group`.
    pub(super) fn group(group: &str) -> impl Fn(SandboxError) -> Self {
        move |error| match error {
            SandboxError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            source => Self::Group {
                group: group.to_owned(),
                source: Box::new(source),
            },
        }
    }

    /// Makes a function for `map_err`: systemctl's failure concerns the units of `list`.
    pub(super) fn services(list: &'static str) -> impl Fn(SandboxError) -> Self {
        move |error| match error {
            SandboxError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            source => Self::Services {
                list,
                source: Box::new(source),
            },
        }
    }

    /// Says what to do about it, where something can be done.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoSudo { .. } => Some("add the package sudo to systemConfig.packages".into()),
            Self::NoProgram { program, .. } => Some(
                format!(
                    "add the package that contains {program}, or the file itself with systemConfig.additionalFiles"
                )
                .into(),
            ),
            Self::NoNetwork { .. } => {
                Some("build online once; later builds use the result while its inputs stay".into())
            }
            Self::NoGrowth { hint, .. } => Some((*hint).into()),
            Self::NoSystemd => Some("add the package systemd to systemConfig.packages".into()),
            Self::TakenId { .. } => Some("leave out the id, or give the one that it has".into()),
            Self::NoHome { .. } => Some("give the user home".into()),
            Self::User { source, .. } | Self::Group { source, .. }
                if matches!(**source, SandboxError::NotFound { .. }) =>
            {
                Some("add the package passwd to systemConfig.packages".into())
            }
            Self::Command { source, .. } if matches!(**source, SandboxError::Failed { .. }) => {
                Some(format!("{CONFINED}; network: true gives a command the network").into())
            }
            Self::Setting { hint, .. } => Some((*hint).into()),
            Self::Services { source, .. } => Some(match **source {
                SandboxError::NotFound { .. } => "add the package systemd to systemConfig.packages".into(),
                _ => "correct the names, or add the packages that have the units to systemConfig.packages".into(),
            }),
            Self::Command { source, .. } | Self::User { source, .. } | Self::Group { source, .. } => source.hint(),
            Self::Sandbox(error) => error.hint(),
            _ => None,
        }
    }
}

/// Gives `value` if it may stand in a line of `file`.
pub(super) fn one_line<'v>(field: &'static str, value: &'v str, file: &'static str) -> Result<&'v str, ConfigureError> {
    if value.chars().any(char::is_control) {
        return Err(ConfigureError::BadText {
            field,
            value: value.to_owned(),
            file,
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Ended;

    #[test]
    fn a_failed_command_is_told_what_the_sandbox_does_not_give() {
        let error = ConfigureError::Command {
            number: 1,
            source: Box::new(SandboxError::Failed {
                command: "curl https://a.example".to_owned(),
                ended: Ended::Status(6),
                tail: Vec::new(),
            }),
        };
        let hint = error.hint().unwrap();
        for word in ["no network", "mount", "chattr"] {
            assert!(hint.contains(word), "{hint}");
        }
    }
}
