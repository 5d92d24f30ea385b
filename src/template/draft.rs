//! A new template, with comments, for its author to go on with.

use std::fmt::Write as _;

use crate::provider::Provider;

/// What the author of a new template wants.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// The distribution.
    pub provider: &'a Provider,
    /// Name of the image, of its system configuration, and of the host.
    pub name: &'a str,
    /// Size of the disk, in the words of a template (`4GiB`), if it is not that of the default template.
    pub size: Option<&'a str>,
    /// The first user, if there is one.
    pub user: Option<DraftUser<'a>>,
    /// Packages besides those of the provider's default template.
    pub packages: &'a [String],
    /// Kinds of output: a format, then a dot and a compression if there is one (`raw`, `raw.gz`, `qcow2`).
    pub outputs: &'a [String],
}

/// The first user of a new template.
#[derive(Debug, Clone)]
pub struct DraftUser<'a> {
    /// Login name.
    pub name: &'a str,
    /// The password's crypt(5) string; without one, the password is locked.
    pub password: Option<&'a str>,
}

impl Draft<'_> {
    /// Gives the template as YAML with comments. Each text is quoted, so that it stays a text.
    pub fn to_yaml(&self) -> String {
        let Self { provider, name, .. } = self;
        let name = quoted(name);
        let size = match self.size {
            Some(size) => format!("  size: {}", quoted(size)),
            None => "  # size: 8GiB".to_owned(),
        };
        let (os, dist) = (quoted(&provider.os), quoted(&provider.dist));
        let arch = provider.arch.as_str();
        let mut text = format!(
            "\
# Check this template with oic validate, build it with oic build; docs/template-reference.md has all fields.
# What is not said here comes from the default template of {}.
image:
  name: {name}
  version: \"1.0.0\"

target:
  os: {os}
  dist: {dist}
  arch: {arch}
  imageType: raw

disk:
  name: {name}
  # The root partition takes what the others leave.
{size}
",
            provider.id()
        );
        self.push_outputs(&mut text);
        let _ = write!(text, "\nsystemConfig:\n  name: {name}\n  hostname: {name}\n");
        self.push_user(&mut text);
        self.push_packages(&mut text);
        self.push_network(&mut text);
        text
    }

    fn push_outputs(&self, text: &mut String) {
        if self.outputs.is_empty() {
            return;
        }
        text.push_str("  # The files to deliver; raw alone is the fastest to build again.\n  artifacts:\n");
        for output in self.outputs {
            let (format, compression) = output.split_once('.').unwrap_or((output, ""));
            let _ = writeln!(text, "    - type: {}", quoted(format));
            if !compression.is_empty() {
                let _ = writeln!(text, "      compression: {}", quoted(compression));
            }
        }
    }

    fn push_user(&self, text: &mut String) {
        let Some(user) = &self.user else {
            text.push_str(
                "\n  # Without a user with a password, login is only possible in ways that your files and packages add.\n  \
                 # users:\n  #   - name: admin\n  #     password: \"\"   # a crypt(5) hash: openssl passwd -6\n  \
                 #     sudo: true\n",
            );
            return;
        };
        let _ = writeln!(text, "\n  users:\n    - name: {}", quoted(user.name));
        match user.password {
            Some(hash) => {
                let _ = writeln!(
                    text,
                    "      # A crypt(5) hash; make another one with: openssl passwd -6"
                );
                let _ = writeln!(text, "      password: {}", quoted(hash));
            }
            None => text.push_str("      # Without a password, login takes another way, such as an SSH key.\n"),
        }
        text.push_str("      sudo: true\n");
    }

    fn push_packages(&self, text: &mut String) {
        text.push_str(
            "\n  # Packages besides those of the default template. Find more: oic search WORD FILE.\n  packages:\n",
        );
        // A user may use sudo only if it is there.
        let sudo = self.user.is_some().then_some("sudo");
        let mut named: Vec<&str> = sudo
            .into_iter()
            .chain(self.packages.iter().map(String::as_str))
            .collect();
        named.dedup();
        if named.is_empty() {
            text.truncate(text.len() - "  packages:\n".len());
            text.push_str("  packages: []\n");
        }
        for package in named {
            let _ = writeln!(text, "    - {}", quoted(package));
        }
    }

    fn push_network(&self, text: &mut String) {
        let Provider { os, dist, .. } = self.provider;
        let local = format!("embedded:providers/{os}/{dist}/additionalfiles/99-dhcp-en.network");
        let _ = write!(
            text,
            "
  # Files from beside this template go into the image in the same way; this one comes with oic.
  additionalFiles:
    # Each wired network card gets its address by DHCP.
    - local: {}
      final: /etc/systemd/network/99-dhcp-en.network

  # Commands that run in the image at the end of the build.
  configurations:
    - cmd: systemctl enable systemd-networkd.service
",
            quoted(&local)
        );
    }
}

/// Gives `text` as a quoted scalar: a JSON string is a YAML one (YAML 1.2.2, section 7.3.1).
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Providers;
    use crate::template::{TemplateSource, Variables, load};
    use crate::yaml::Source;

    #[test]
    fn a_draft_is_a_valid_template_of_each_provider() {
        let providers = Providers::embedded().unwrap();
        let packages = ["curl".to_owned()];
        let outputs = ["raw".to_owned(), "raw.gz".to_owned()];
        for provider in providers.all() {
            for (user, outputs) in [
                (None, &[][..]),
                (
                    Some(DraftUser {
                        name: "admin",
                        password: Some("$6$salt$hash"),
                    }),
                    &outputs[..],
                ),
            ] {
                let draft = Draft {
                    provider,
                    name: "no",
                    size: None,
                    user,
                    packages: &packages,
                    outputs,
                };
                let text = draft.to_yaml();
                let source = TemplateSource::Text(Source::new("new.yml", text.clone()));
                let loaded = load(&source, &providers, &Variables::new()).unwrap_or_else(|findings| {
                    panic!("{findings}\n{text}");
                });
                assert_eq!(loaded.provider.id(), provider.id());
                // Without quotes it would be a boolean in YAML 1.1.
                assert_eq!(loaded.template.image.name, "no");
                assert!(loaded.own_packages.contains(&"curl".to_owned()));
                // Without any of its own it has those of the default template.
                let count = loaded.template.disk.artifacts.len();
                assert!(outputs.is_empty() || count == outputs.len(), "{count}");
            }
        }
    }
}
