//! The image's name.

use std::fmt::Write as _;

use super::error::one_line;
use super::{ConfigureError, Context};

const HOSTS: &str = "127.0.0.1\tlocalhost\n\n\
    ::1\t\tlocalhost ip6-localhost ip6-loopback\nff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n";
/// The address that Debian gives a machine's own name (Debian Reference, 5.1.1).
const OWN_ADDRESS: &str = "127.0.1.1";

/// Writes `/etc/hostname` (hostname(5)) and its line in `/etc/hosts` (hosts(5)).
pub(super) fn set_hostname(context: &Context<'_>) -> Result<(), ConfigureError> {
    let hosts = match context.root.read("/etc/hosts")? {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => HOSTS.to_owned(),
    };
    let Some(hostname) = &context.request.template.system.hostname else {
        return Ok(context.root.write("/etc/hosts", hosts, 0o644)?);
    };
    let hostname = one_line("systemConfig.hostname", hostname, "/etc/hostname")?;
    context.root.write("/etc/hostname", format!("{hostname}\n"), 0o644)?;
    Ok(context
        .root
        .write("/etc/hosts", with_hostname(&hosts, hostname), 0o644)?)
}

/// Gives `hosts` with the machine's own line behind that of localhost.
fn with_hostname(hosts: &str, hostname: &str) -> String {
    let mut own = format!("{OWN_ADDRESS}\t{hostname}");
    if let Some((short, _)) = hostname.split_once('.') {
        // Writing to a String cannot fail.
        let _ = write!(own, " {short}");
    }
    let mut lines: Vec<&str> = hosts.lines().filter(|line| !is_for(line, OWN_ADDRESS)).collect();
    let place = lines
        .iter()
        .position(|line| is_for(line, "127.0.0.1"))
        .map_or(0, |index| index + 1);
    lines.insert(place, &own);
    lines.join("\n") + "\n"
}

fn is_for(line: &str, address: &str) -> bool {
    line.split_whitespace().next() == Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_line_is_set_once() {
        let hosts = with_hostname(HOSTS, "edge.example.org");
        assert!(hosts.starts_with("127.0.0.1\tlocalhost\n127.0.1.1\tedge.example.org edge\n\n::1"));
        assert_eq!(with_hostname(&hosts, "other"), with_hostname(HOSTS, "other"));
        assert_eq!(with_hostname("10.0.0.1 x\n", "other"), "127.0.1.1\tother\n10.0.0.1 x\n");
    }
}
