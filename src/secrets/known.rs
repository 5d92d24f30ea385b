//! The secrets that packages are known to draw: removed after the installation, drawn again at the first boot.

use std::path::{Path, PathBuf};

use crate::durable::PathError;
use crate::package::glob;
use crate::root::Root;

const UNITS: &str = "/etc/systemd/system";
const SYSTEMD: &str = "/usr/lib/systemd/systemd";
/// The directory of certificates, with links that are named after their subjects (openssl-rehash(1)).
const CERTIFICATES: &str = "/etc/ssl/certs";

/// Secrets that are drawn together.
#[derive(Debug)]
struct Known {
    /// Their files; only names may be patterns.
    files: &'static [&'static str],
    /// What draws them again; `None` if their own programs do when they need them.
    unit: Option<Unit>,
}

/// A unit that draws secrets where the first of their files is missing.
#[derive(Debug)]
struct Unit {
    /// Its name without `.service`.
    name: &'static str,
    /// What it does, as its description says.
    description: &'static str,
    /// The program that draws the secrets; without it the image has no use for the unit.
    program: &'static str,
    /// `ExecStart` of systemd.service(5).
    command: &'static str,
    /// Units that read the secrets.
    before: &'static str,
}

const KNOWN: [Known; 9] = [
    Known {
        files: &["/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_*_key.pub"],
        unit: Some(Unit {
            name: "ssh-host-keys",
            description: "Generate the SSH host keys of this machine",
            program: "/usr/bin/ssh-keygen",
            command: "/usr/bin/ssh-keygen -A",
            before: "ssh.service ssh.socket sshd.service",
        }),
    },
    Known {
        files: &[
            "/etc/ssl/private/ssl-cert-snakeoil.key",
            "/etc/ssl/certs/ssl-cert-snakeoil.pem",
        ],
        unit: Some(Unit {
            name: "ssl-cert-snakeoil",
            description: "Generate the self-signed certificate of this machine",
            program: "/usr/sbin/make-ssl-cert",
            command: "/usr/sbin/make-ssl-cert generate-default-snakeoil",
            before: "",
        }),
    },
    Known {
        files: &["/var/lib/dkms/mok.key", "/var/lib/dkms/mok.pub"],
        unit: None,
    },
    Known {
        files: &["/var/lib/shim-signed/mok/MOK.priv", "/var/lib/shim-signed/mok/MOK.der"],
        unit: None,
    },
    Known {
        files: &["/etc/iscsi/initiatorname.iscsi"],
        unit: Some(Unit {
            name: "iscsi-initiator-name",
            description: "Draw the iSCSI initiator name of this machine",
            program: "/usr/sbin/iscsi-iname",
            command: "/bin/sh -c 'umask 077 && name=$$(/usr/sbin/iscsi-iname) && \
                echo \"InitiatorName=$$name\" >/etc/iscsi/initiatorname.iscsi'",
            before: "iscsid.service iscsid.socket open-iscsi.service iscsi.service",
        }),
    },
    Known {
        files: &["/etc/nvme/hostnqn", "/etc/nvme/hostid"],
        unit: Some(Unit {
            name: "nvme-host-id",
            description: "Draw the NVMe host id and NQN of this machine",
            program: "/usr/sbin/nvme",
            command: "/bin/sh -c '/usr/sbin/nvme gen-hostnqn >/etc/nvme/hostnqn && \
                sed \"s/.*uuid://\" /etc/nvme/hostnqn >/etc/nvme/hostid'",
            before: "nvmefc-boot-connections.service nvmf-autoconnect.service",
        }),
    },
    Known {
        files: &["/etc/dropbear/dropbear_*_host_key"],
        unit: Some(Unit {
            name: "dropbear-host-keys",
            description: "Generate the Dropbear host keys of this machine",
            program: "/usr/bin/dropbearkey",
            command: "/bin/sh -c 'for type in rsa ecdsa ed25519; do \
                /usr/bin/dropbearkey -t $$type -f /etc/dropbear/dropbear_$${type}_host_key || exit; done'",
            before: "dropbear.service dropbear.socket",
        }),
    },
    Known {
        files: &["/etc/munge/munge.key"],
        unit: Some(Unit {
            name: "munge-key",
            description: "Generate the MUNGE key of this machine",
            program: "/usr/sbin/mungekey",
            command: "/bin/sh -c '/usr/sbin/mungekey -c && chown munge:munge /etc/munge/munge.key'",
            before: "munge.service",
        }),
    },
    Known {
        files: &["/etc/bind/rndc.key"],
        unit: Some(Unit {
            name: "rndc-key",
            description: "Generate the key that controls the name server of this machine",
            program: "/usr/sbin/rndc-confgen",
            command: "/bin/sh -c '/usr/sbin/rndc-confgen -a && chown bind:bind /etc/bind/rndc.key && \
                chmod 640 /etc/bind/rndc.key'",
            before: "named.service",
        }),
    },
];

/// Says whether [`reset`] removes the file `path`.
pub fn is_known(path: &str) -> bool {
    let mut files = KNOWN.iter().flat_map(|known| known.files);
    files.any(|pattern| glob::matches(pattern, path))
}

/// Removes the secrets in `root` that packages have drawn, but not those that it spares, and puts units into the image
/// that draw them again. Gives the files that it has removed.
///
/// # Errors
/// If a file cannot be removed or written.
pub fn reset(root: &Root) -> Result<Vec<PathBuf>, PathError> {
    let mut removed = Vec::new();
    for known in &KNOWN {
        let drawn = drawn(root, known)?;
        if drawn.is_empty() {
            continue;
        }
        for path in &drawn {
            remove(root, path)?;
        }
        if let Some(unit) = &known.unit {
            enable(root, unit, known.files)?;
        }
        removed.extend(drawn);
    }
    Ok(removed)
}

/// Lists the files of `known` that are there and not spared. A key without its certificate is of no use: of files that
/// have fixed names all are spared or none.
fn drawn(root: &Root, known: &Known) -> Result<Vec<PathBuf>, PathError> {
    let mut drawn = Vec::new();
    if known.files.iter().any(|file| root.is_spared(file)) {
        return Ok(drawn);
    }
    for pattern in known.files.iter().map(Path::new) {
        let (Some(directory), Some(name)) = (pattern.parent(), pattern.file_name()) else {
            continue;
        };
        for found in root.names(directory)? {
            let path = directory.join(&found);
            let is_one = glob::matches(&name.to_string_lossy(), &found.to_string_lossy());
            if is_one && !root.is_spared(&path) {
                drawn.push(path);
            }
        }
    }
    Ok(drawn)
}

/// Removes the file `path`, and if it is a certificate the links to it.
fn remove(root: &Root, path: &Path) -> Result<(), PathError> {
    root.remove(path)?;
    if path.parent() != Some(Path::new(CERTIFICATES)) {
        return Ok(());
    }
    for name in root.names(CERTIFICATES)? {
        let link = Path::new(CERTIFICATES).join(name);
        let target = root.read_link(&link)?;
        if target.is_some_and(|target| target.file_name() == path.file_name()) {
            root.remove(link)?;
        }
    }
    Ok(())
}

/// Writes `unit`, which draws `files`, and enables it, if the image has the programs for it.
fn enable(root: &Root, unit: &Unit, files: &[&str]) -> Result<(), PathError> {
    if !root.exists(SYSTEMD)? || !root.exists(unit.program)? {
        return Ok(());
    }
    let name = format!("{}.service", unit.name);
    let path = Path::new(UNITS).join(&name);
    if !root.is_spared(&path) {
        root.write(path, text(unit, files), 0o644)?;
    }
    let target = Path::new("..").join(&name);
    root.symlink(target, Path::new(UNITS).join("basic.target.wants").join(name))
}

/// Gives the text of the unit. It runs before all usual services, as soon as files can be written.
fn text(unit: &Unit, files: &[&str]) -> String {
    let Unit {
        description,
        command,
        before,
        ..
    } = unit;
    let missing = files.first().copied().unwrap_or_default();
    let condition = match missing.contains('*') {
        true => format!("ConditionPathExistsGlob=!{missing}"),
        // An empty file is what a machine leaves that lost its power meanwhile.
        false => format!("ConditionFileNotEmpty=!{missing}"),
    };
    let before = format!("basic.target shutdown.target {before}");
    format!(
        "[Unit]\nDescription={description}\nDefaultDependencies=no\n{condition}\nAfter=local-fs.target\n\
         Before={}\nConflicts=shutdown.target\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={command}\n\n\
         [Install]\nWantedBy=basic.target\n",
        before.trim_end()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root in which every known secret was drawn, and every program is.
    fn drawn() -> (tempfile::TempDir, Root, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        root.write(SYSTEMD, "", 0o755).unwrap();
        let mut files = Vec::new();
        for known in &KNOWN {
            for pattern in known.files {
                let path = pattern.replace('*', "ed25519");
                root.write(&path, "secret", 0o600).unwrap();
                files.push(path);
            }
            if let Some(unit) = &known.unit {
                root.write(unit.program, "", 0o755).unwrap();
            }
        }
        root.symlink("ssl-cert-snakeoil.pem", "/etc/ssl/certs/0a1b2c3d.0")
            .unwrap();
        (directory, root, files)
    }

    #[test]
    fn every_known_secret_is_removed_and_drawn_again() {
        let (_directory, root, files) = drawn();
        assert!(files.iter().all(|file| is_known(file)) && !is_known("/etc/ssh/sshd_config"));
        assert_eq!(reset(&root).unwrap().len(), files.len());
        for file in &files {
            assert!(!root.exists(file).unwrap(), "{file}");
        }
        assert_eq!(root.names(CERTIFICATES).unwrap().len(), 0);
        for known in &KNOWN {
            let Some(unit) = &known.unit else { continue };
            let path = format!("{UNITS}/{}.service", unit.name);
            let text = root.read(path).unwrap().unwrap();
            assert!(
                String::from_utf8(text).unwrap().contains(known.files[0]),
                "{}",
                unit.name
            );
            let link = format!("{UNITS}/basic.target.wants/{}.service", unit.name);
            assert!(root.exists(link).unwrap(), "{}", unit.name);
        }
    }

    #[test]
    fn what_the_user_means_stays() {
        let (.., files) = drawn();
        for file in &files {
            let (_directory, root, _) = drawn();
            let removed = reset(&root.sparing([file])).unwrap();
            assert!(root.exists(file).unwrap(), "{file}");
            // With a certificate its key stays; host keys are each on their own.
            let group = KNOWN.iter().find(|known| known.files.contains(&file.as_str()));
            let stays = group.map_or(1, |known| known.files.len());
            assert_eq!(removed.len(), files.len() - stays, "{file}");
        }
    }

    #[test]
    fn an_image_without_secrets_gets_no_unit() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        root.write(SYSTEMD, "", 0o755).unwrap();
        root.write("/usr/bin/ssh-keygen", "", 0o755).unwrap();
        reset(&root).unwrap();
        assert!(!root.exists(UNITS).unwrap());
    }
}
