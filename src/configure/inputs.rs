//! The inputs of each part of configuring, for the keys of step layers.

use std::os::unix::fs::PermissionsExt as _;

use super::files::EMBEDDED_MODE;
use super::password::hash;
use super::{ConfigureError, ConfigureRequest, Part, growth};
use crate::durable::{self, PathError};
use crate::layer::KeyBuilder;
use crate::model::{FileSource, Password};
use crate::package::Sha256;

impl ConfigureRequest<'_> {
    /// Adds to `key` everything that `part` depends on, besides the tree that it is applied to.
    ///
    /// # Errors
    /// If a file of the host cannot be read, or a password cannot be hashed.
    pub fn add_inputs(&self, part: Part, key: &mut KeyBuilder) -> Result<(), ConfigureError> {
        key.add("epoch", self.epoch.to_le_bytes());
        match part {
            Part::Accounts => self.add_users(key),
            // Their inputs are in the key of the settings already.
            Part::Last => Ok(()),
            Part::Settings => {
                self.add_settings(key);
                self.add_files(key)
            }
        }
    }

    fn add_users(&self, key: &mut KeyBuilder) -> Result<(), ConfigureError> {
        for group in &self.template.system.groups {
            key.add("own group", format!("{group:?}"));
        }
        for user in &self.template.system.users {
            key.add("user", &user.name);
            match &user.password {
                Password::Locked => key.add("locked", ""),
                Password::Hashed(hash) => key.add("hash", hash),
                // A key is no secret: the image holds the same hash, and the password is as hard to guess from it.
                Password::Plain { text, method } => {
                    let hashed = hash(text, *method, self.seed, &user.name);
                    let hashed = hashed.map_err(|reason| ConfigureError::Password {
                        user: user.name.clone(),
                        reason,
                    })?;
                    key.add("hash", hashed);
                }
            }
            key.add("days", format!("{:?}", (user.password_max_age_days, user.expires_days)));
            key.add("kind", format!("{:?}", (user.locked, user.system, user.uid)));
            user.ssh_keys.iter().for_each(|line| key.add("ssh key", line));
            user.groups.iter().for_each(|group| key.add("group", group));
            key.add("sudo", [u8::from(user.sudo)]);
            key.add("home", format!("{:?}", user.home));
            key.add("shell", format!("{:?}", user.shell));
        }
        Ok(())
    }

    fn add_settings(&self, key: &mut KeyBuilder) {
        let template = self.template;
        key.add("seed", self.seed.0);
        key.add("os", &template.target.os);
        if !template.target.image_type.has_disk() {
            key.add("kind", format!("{:?}", template.target.image_type));
            let installer = (template.installs(), template.disk.installation.is_unattended());
            key.add("installer", format!("{installer:?}"));
        }
        key.add(
            "image",
            format!("{:?}", (&template.image.name, &template.image.version)),
        );
        key.add("machine id", format!("{:?}", template.system.machine_id));
        key.add("hostname", format!("{:?}", template.system.hostname));
        key.add("machine", format!("{:?}", template.system.machine));
        key.add("interfaces", format!("{:?}", template.system.network));
        key.add("fstab", format!("{:?}", self.fstab));
        if template.disk.growing.is_some() {
            key.add("growth", format!("{:?}", growth::inputs(&template.disk)));
        }
        key.add("sources", format!("{:?}", self.sources));
        template
            .system
            .allow_secrets
            .iter()
            .for_each(|path| key.add("allowed secret", path));
        for user in &template.system.users {
            key.add("startup", format!("{:?}", (&user.name, &user.startup_script)));
        }
        for command in &template.system.commands {
            key.add("command", &command.text);
            key.add(
                "command's own",
                format!("{:?}", (command.network, &command.env, command.when)),
            );
        }
    }

    fn add_files(&self, key: &mut KeyBuilder) -> Result<(), ConfigureError> {
        for file in &self.template.system.additional_files {
            key.add("file", &file.destination);
            key.add("owner", format!("{:?}", file.owner));
            match &file.source {
                FileSource::Embedded(bytes) => {
                    key.add("mode", file.mode_of(EMBEDDED_MODE).to_le_bytes());
                    key.add("embedded", bytes);
                }
                FileSource::Text(text) => {
                    key.add("mode", file.mode_of(EMBEDDED_MODE).to_le_bytes());
                    key.add("text", text);
                }
                FileSource::Fetched(_, sha256) => {
                    key.add("mode", file.mode_of(EMBEDDED_MODE).to_le_bytes());
                    key.add("fetched", sha256.0);
                }
                FileSource::Directory => key.add("directory", format!("{:?}", file.mode)),
                FileSource::Link(target) => key.add("link", target.as_os_str().as_encoded_bytes()),
                FileSource::Host(path) => {
                    let fail = |error: PathError| ConfigureError::File {
                        local: path.clone(),
                        destination: file.destination.clone(),
                        reason: error.source.to_string(),
                    };
                    let source = durable::open_regular(path)
                        .map_err(PathError::on("open", path))
                        .map_err(fail)?;
                    let metadata = source
                        .metadata()
                        .map_err(PathError::on("look at", path))
                        .map_err(fail)?;
                    let digest = Sha256::of_reader(source)
                        .map_err(PathError::on("read", path))
                        .map_err(fail)?;
                    key.add("mode", file.mode_of(metadata.permissions().mode()).to_le_bytes());
                    key.add("content", digest.0.0);
                }
            }
        }
        Ok(())
    }
}
