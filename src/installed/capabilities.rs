//! Capabilities of files: the attribute `security.capability` (capabilities(7), "File capabilities").

/// The attribute.
pub const ATTRIBUTE: &str = "security.capability";

/// The names of capabilities by their numbers (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];
/// The flag that makes the capabilities effective when the program starts.
const EFFECTIVE: u32 = 1;

/// Returns the value of the attribute in the words of cap_to_text(3), such as `cap_net_raw=ep`; `None` if it is malformed.
pub fn text(value: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?));
    let magic = word(0)?;
    let words = match magic >> 24 {
        1 => 1,
        2 | 3 => 2,
        _ => return None,
    };
    let (mut permitted, mut inheritable) = (0_u64, 0_u64);
    for index in 0..words {
        permitted |= u64::from(word(4 + 8 * index)?) << (32 * index);
        inheritable |= u64::from(word(8 + 8 * index)?) << (32 * index);
    }
    let effective = if magic & EFFECTIVE != 0 { "e" } else { "" };
    let mut parts: Vec<(String, Vec<String>)> = Vec::new();
    for number in 0..64 {
        let is_in = |set: u64| set >> number & 1 != 0;
        let flags = match (is_in(permitted), is_in(inheritable)) {
            (true, true) => format!("{effective}ip"),
            (true, false) => format!("{effective}p"),
            (false, true) => format!("{effective}i"),
            (false, false) => continue,
        };
        let name = NAMES
            .get(number)
            .map_or_else(|| number.to_string(), |name| (*name).to_owned());
        let name = format!("cap_{name}");
        match parts.iter_mut().find(|(own, _)| *own == flags) {
            Some((_, names)) => names.push(name),
            None => parts.push((flags, vec![name])),
        }
    }
    let parts: Vec<String> = parts
        .into_iter()
        .map(|(flags, names)| format!("{}={flags}", names.join(",")))
        .collect();
    Some(parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_words() {
        // As `setcap cap_net_raw+ep` and `setcap cap_net_bind_service,cap_bpf=p` write them.
        let ping = hex::decode("0100000200200000000000000000000000000000").unwrap();
        assert_eq!(text(&ping).unwrap(), "cap_net_raw=ep");
        let two = hex::decode("0000000200040000000000008000000000000000").unwrap();
        assert_eq!(text(&two).unwrap(), "cap_net_bind_service,cap_bpf=p");
        for bad in ["", "01000002", "01000009002000000000000000000000"] {
            assert_eq!(text(&hex::decode(bad).unwrap()), None, "{bad}");
        }
    }
}
