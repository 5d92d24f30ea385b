//! The same answers on every build host: the processor, the kernel and the identity of the machine that scripts see.

use std::fs;
use std::path::Path;

use super::SandboxFile;

/// The file with the machine's id (machine-id(5)).
pub const MACHINE_ID: &str = "/etc/machine-id";
/// The id that scripts see: what they derive from it is the same in each build.
pub const BUILD_MACHINE_ID: &str = "6f69632d6275696c642d6d616368696e\n";
/// The program that tells the kernel's release.
pub(super) const UNAME: &str = "/usr/bin/uname";
/// The release that scripts see where the image has no kernel: that of a long-term kernel, since some refuse old ones.
const NO_KERNEL: &str = "6.12.0";
/// The directory with a directory of modules for each kernel.
const MODULES: &str = "/lib/modules";
/// What a directory of modules has if its kernel is installed; headers alone have a directory, too.
const MODULE_LIST: &str = "modules.builtin";

/// See [`uname`].
const UNAME_SCRIPT: &str = include_str!("uname.sh");

/// Files of `/proc` that show the same on every host; [`proc_files`] adds those that name the kernel.
const PROC: [(&str, &str); 9] = [
    ("/proc/cpuinfo", CPUINFO),
    ("/proc/cmdline", "\n"),
    ("/proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    ("/proc/modules", ""),
    ("/proc/partitions", "major minor  #blocks  name\n\n"),
    ("/proc/diskstats", ""),
    ("/proc/mdstat", "Personalities : \nunused devices: <none>\n"),
    ("/proc/fb", ""),
    ("/proc/sys/kernel/version", "#1 SMP\n"),
];

/// Two plain processors, one of each maker: what is for one kind of machine only is for all kinds in an image, such as
/// the microcode in an initrd (proc_cpuinfo(5)).
#[cfg(target_arch = "x86_64")]
const CPUINFO: &str = "\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 15
model name\t: x86-64
stepping\t: 0
flags\t\t: fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx lm
address sizes\t: 40 bits physical, 48 bits virtual

processor\t: 1
vendor_id\t: AuthenticAMD
cpu family\t: 15
model\t\t: 5
model name\t: x86-64
stepping\t: 0
flags\t\t: fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx lm
address sizes\t: 40 bits physical, 48 bits virtual

";
/// One plain processor (proc_cpuinfo(5)).
#[cfg(not(target_arch = "x86_64"))]
const CPUINFO: &str = "processor\t: 0\nFeatures\t: fp asimd\nCPU architecture: 8\n\n";

/// Gives the file that shows a constant machine id in the image whose root directory inside is `root`.
pub fn machine_id(root: &Path) -> SandboxFile {
    SandboxFile {
        target: root.join(MACHINE_ID.trim_start_matches('/')),
        mode: 0o444,
        contents: BUILD_MACHINE_ID.into(),
    }
}

/// Gives the files of `/proc` that are the same on every host; the kernel is the image's. `/` is the image's.
pub(super) fn proc_files() -> Vec<(&'static str, String)> {
    let release = release();
    let mut files: Vec<_> = PROC.map(|(path, text)| (path, text.to_owned())).into();
    files.push(("/proc/version", format!("Linux version {release} (build) #1 SMP\n")));
    files.push(("/proc/sys/kernel/osrelease", format!("{release}\n")));
    files
}

/// Finds the release of the image's newest kernel. `/` is the image's.
fn release() -> String {
    let entries = fs::read_dir(MODULES).into_iter().flatten().flatten();
    let releases = entries.filter(|entry| entry.path().join(MODULE_LIST).exists());
    let names = releases.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .max_by(|a, b| compare(a, b))
        .unwrap_or_else(|| NO_KERNEL.to_owned())
}

/// Compares two releases as `sort -V` does: runs of digits count as numbers.
fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    let key = |text: &str| -> Vec<(u64, String)> {
        let mut parts = vec![(0_u64, String::new())];
        for character in text.chars() {
            let digit = character.to_digit(10).map(u64::from);
            match (digit, parts.last_mut()) {
                (Some(digit), Some((number, word))) if word.is_empty() => {
                    *number = number.saturating_mul(10).saturating_add(digit);
                }
                (Some(digit), _) => parts.push((digit, String::new())),
                (None, Some((_, word))) => word.push(character),
                (None, None) => {}
            }
        }
        parts
    };
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}

/// Gives the program that takes the place of uname(1). The kernel that runs is the host's, and no namespace changes what
/// it says of itself; that of the image may be installed after the program was put in place.
pub(super) fn uname() -> SandboxFile {
    SandboxFile {
        target: UNAME.into(),
        mode: 0o755,
        contents: UNAME_SCRIPT
            .replace("@MACHINE@", std::env::consts::ARCH)
            .replace("@NO_KERNEL@", NO_KERNEL)
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `sort -V` puts them.
    #[test]
    fn releases_are_in_the_order_of_versions() {
        let sorted = [
            "5.9.1",
            "5.10.0-9-amd64",
            "5.10.0-10-amd64",
            "6.1",
            "6.1.0-rt",
            "6.12.57+deb13-cloud-amd64",
        ];
        for pair in sorted.windows(2) {
            let [a, b] = pair else { panic!() };
            assert!(compare(a, b).is_lt(), "{a} {b}");
        }
    }
}
