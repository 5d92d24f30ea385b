//! What goes into each part of configuring, for the keys of step layers.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;

use super::password::hash;
use super::{ConfigureError, ConfigureRequest, Part};
use crate::durable::PathError;
use crate::layer::KeyBuilder;
use crate::package::Sha256;
use crate::template::model::{FileSource, Password};

impl ConfigureRequest<'_> {
    /// Adds to `key` everything that `part` depends on, besides the tree that it is applied to.
    ///
    /// # Errors
    /// If a file of the host cannot be read, or a password cannot be hashed.
    pub fn add_inputs(&self, part: Part, key: &mut KeyBuilder) -> Result<(), ConfigureError> {
        key.add("epoch", self.epoch.to_le_bytes());
        match part {
            Part::Accounts => self.add_users(key),
            Part::Settings => {
                self.add_settings(key);
                self.add_files(key)
            }
        }
    }

    fn add_users(&self, key: &mut KeyBuilder) -> Result<(), ConfigureError> {
        for user in &self.template.system.users {
            key.add("user", &user.name);
            match &user.password {
                Password::Locked => key.add("locked", ""),
                Password::Hashed(hash) => key.add("hash", hash),
                // A key is no secret: the hash is what goes into the image, and as hard to guess from.
                Password::Plain { text, method } => {
                    let hashed = hash(text, *method, self.seed, &user.name);
                    let hashed = hashed.map_err(|reason| ConfigureError::Password {
                        user: user.name.clone(),
                        reason,
                    })?;
                    key.add("hash", hashed);
                }
            }
            key.add("days", format!("{:?}", user.password_max_age_days));
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
        key.add("network", [u8::from(self.network)]);
        key.add("os", &template.target.os);
        key.add(
            "image",
            format!("{:?}", (&template.image.name, &template.image.version)),
        );
        key.add("hostname", format!("{:?}", template.system.hostname));
        key.add("fstab", format!("{:?}", self.fstab));
        key.add("sources", format!("{:?}", self.sources));
        key.add("repositories", format!("{:?}", self.dnf_repositories));
        for user in &template.system.users {
            key.add("startup", format!("{:?}", (&user.name, &user.startup_script)));
        }
        template
            .system
            .commands
            .iter()
            .for_each(|command| key.add("command", command));
    }

    fn add_files(&self, key: &mut KeyBuilder) -> Result<(), ConfigureError> {
        for file in &self.template.system.additional_files {
            key.add("file", &file.destination);
            match &file.source {
                FileSource::Embedded(bytes) => key.add("embedded", bytes),
                FileSource::Host(path) => {
                    let fail = |error: PathError| ConfigureError::File {
                        local: path.clone(),
                        destination: file.destination.clone(),
                        reason: error.source.to_string(),
                    };
                    let source = File::open(path).map_err(PathError::on("open", path)).map_err(fail)?;
                    let metadata = source
                        .metadata()
                        .map_err(PathError::on("look at", path))
                        .map_err(fail)?;
                    let digest = Sha256::of_reader(source)
                        .map_err(PathError::on("read", path))
                        .map_err(fail)?;
                    key.add("mode", metadata.permissions().mode().to_le_bytes());
                    key.add("content", digest.0.0);
                }
            }
        }
        Ok(())
    }
}
