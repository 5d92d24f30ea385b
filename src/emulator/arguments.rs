//! The command line of QEMU (qemu(1)).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::firmware::{FlashFile, Uefi};
use super::subject::{Kind, Subject};
use crate::package::Arch;

/// Where the first serial port goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// To a terminal, where Ctrl-A X ends the machine.
    Terminal,
    /// To standard output; standard input is not for it.
    Output,
}

/// A machine.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    /// What it starts from.
    pub subject: &'a Subject,
    /// Its UEFI firmware; without one it has a BIOS, or starts a kernel.
    pub uefi: Option<Uefi>,
    /// Whether KVM runs it.
    pub has_kvm: bool,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// The number of its processors.
    pub processors: usize,
    /// Its disk if it is not the subject's file: a qcow2 file.
    pub disk: Option<PathBuf>,
    /// A raw volume besides.
    pub volume: Option<PathBuf>,
    /// The strings that it finds in SMBIOS.
    pub strings: Vec<String>,
    /// The port of this host that leads to its port 22.
    pub ssh_port: Option<u16>,
    /// The command line of a kernel that is started without firmware.
    pub kernel_words: &'a str,
    /// Where its first serial port goes.
    pub port: Port,
    /// A file that also gets what it says there.
    pub console_log: Option<PathBuf>,
    /// Further arguments of QEMU.
    pub more: &'a [OsString],
}

/// Makes the arguments for `machine`. QEMU writes to no file that they name, but to the log of the console.
pub fn of(machine: &Machine<'_>) -> Vec<OsString> {
    let mut arguments = Arguments::default();
    arguments.hardware(machine.subject.arch, machine.has_kvm, machine.uefi.as_ref());
    arguments.pair("-m", machine.memory_mib.to_string());
    arguments.pair("-smp", machine.processors.to_string());
    arguments.pair("-display", "none");
    arguments.pair("-device", "virtio-rng-pci");
    arguments.network(machine.ssh_port);
    arguments.console(machine);
    arguments.subject(machine);
    if let Some(volume) = &machine.volume {
        let options = "if=none,id=volume,format=raw,readonly=on";
        arguments.pair("-drive", with_file(options, volume));
        arguments.pair("-device", "virtio-blk-pci,drive=volume");
    }
    for string in &machine.strings {
        arguments.pair("-smbios", format!("type=11,value={}", string.replace(',', ",,")));
    }
    arguments.0.extend(machine.more.iter().cloned());
    arguments.0
}

/// Makes the arguments for a machine like those of [`of`] without any disk, which KVM runs and whose monitor is standard
/// input: it shows whether KVM works.
pub fn of_probe(arch: Arch, uefi: Option<&Uefi>) -> Vec<OsString> {
    let mut arguments = Arguments::default();
    arguments.hardware(arch, true, uefi);
    arguments.pair("-m", "128");
    arguments.pair("-display", "none");
    arguments.0.push("-nodefaults".into());
    arguments.pair("-monitor", "stdio");
    arguments.0
}

#[derive(Debug, Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn pair(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.extend([name.into(), value.into()]);
    }

    fn hardware(&mut self, arch: Arch, has_kvm: bool, uefi: Option<&Uefi>) {
        let is_pc = arch == Arch::X86_64;
        let needs_smm = uefi.is_some_and(|uefi| uefi.needs_smm && is_pc);
        let board = if is_pc { "q35" } else { "virt" };
        self.pair("-machine", format!("{board}{}", if needs_smm { ",smm=on" } else { "" }));
        self.pair("-accel", if has_kvm { "kvm" } else { "tcg,thread=multi" });
        let emulated = match arch {
            Arch::X86_64 => "max",
            Arch::Aarch64 => "cortex-a72",
            Arch::Armv7hl => "cortex-a15",
        };
        self.pair("-cpu", if has_kvm { "host" } else { emulated });
        if needs_smm {
            self.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
        }
        if let Some(uefi) = uefi {
            self.flash("unit=0,readonly=on", &uefi.code);
            self.flash("unit=1,snapshot=on", &uefi.variables);
        }
    }

    fn flash(&mut self, options: &str, file: &FlashFile) {
        let options = format!("if=pflash,{options},format={}", file.format);
        self.pair("-drive", with_file(&options, &file.path));
    }

    fn network(&mut self, ssh_port: Option<u16>) {
        let forward = ssh_port.map(|port| format!(",hostfwd=tcp:127.0.0.1:{port}-:22"));
        let forward = forward.unwrap_or_default();
        self.pair("-nic", format!("user,model=virtio-net-pci{forward}"));
    }

    fn console(&mut self, machine: &Machine<'_>) {
        let options = match machine.port {
            Port::Terminal => "stdio,id=console,mux=on,signal=off",
            Port::Output => "stdio,id=console,signal=on",
        };
        let mut backend = OsString::from(options);
        if let Some(log) = &machine.console_log {
            backend.push(",logfile=");
            backend.push(escaped(log));
        }
        self.pair("-chardev", backend);
        self.pair("-serial", "chardev:console");
        match machine.port {
            Port::Terminal => self.pair("-mon", "chardev=console,mode=readline"),
            Port::Output => self.pair("-monitor", "none"),
        }
    }

    fn subject(&mut self, machine: &Machine<'_>) {
        let path = &machine.subject.path;
        match &machine.subject.kind {
            Kind::Disk {
                format, sector_bytes, ..
            } => {
                let (format, path) = match &machine.disk {
                    Some(disk) => ("qcow2", disk),
                    None => (*format, path),
                };
                let options = format!("if=none,id=disk,snapshot=on,format={format}");
                self.pair("-drive", with_file(&options, path));
                let sectors = match sector_bytes {
                    512 => String::new(),
                    other => format!(",logical_block_size={other},physical_block_size={other}"),
                };
                self.pair("-device", format!("virtio-blk-pci,drive=disk,bootindex=1{sectors}"));
            }
            Kind::Cd => self.pair("-cdrom", path),
            Kind::Initrd { kernel, .. } => {
                self.pair("-kernel", kernel);
                self.pair("-initrd", path);
                self.pair("-append", machine.kernel_words);
            }
        }
    }
}

/// Appends the file at `path` to the `options` of a drive.
fn with_file(options: &str, path: &Path) -> OsString {
    let mut text = OsString::from(options);
    text.push(",file=");
    text.push(escaped(path));
    text
}

/// Writes `path` as a value among others: a comma in it is doubled.
fn escaped(path: &Path) -> OsString {
    let bytes = OsStr::as_bytes(path.as_os_str());
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b',').collect();
    OsString::from_vec(parts.join(&b",,"[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::subject::Firmware;

    fn disk(sector_bytes: u64) -> Subject {
        Subject {
            path: "/a, b.raw".into(),
            arch: Arch::X86_64,
            kind: Kind::Disk {
                format: "raw",
                size_bytes: 1 << 30,
                sector_bytes,
                firmware: Some(Firmware::Uefi),
            },
        }
    }

    fn machine(subject: &Subject) -> Machine<'_> {
        Machine {
            subject,
            uefi: None,
            has_kvm: false,
            memory_mib: 1024,
            processors: 2,
            disk: None,
            volume: None,
            strings: Vec::new(),
            ssh_port: None,
            kernel_words: "console=ttyS0",
            port: Port::Output,
            console_log: None,
            more: &[],
        }
    }

    fn line(machine: &Machine<'_>) -> String {
        let arguments = of(machine);
        let words: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn a_disk_starts_by_bios_and_is_not_written() {
        assert_eq!(
            line(&machine(&disk(512))),
            "-machine q35 -accel tcg,thread=multi -cpu max -m 1024 -smp 2 -display none -device virtio-rng-pci \
             -nic user,model=virtio-net-pci -chardev stdio,id=console,signal=on -serial chardev:console -monitor none \
             -drive if=none,id=disk,snapshot=on,format=raw,file=/a,, b.raw -device virtio-blk-pci,drive=disk,bootindex=1"
        );
    }

    #[test]
    fn each_option_has_its_arguments() {
        let subject = disk(4096);
        let more = [OsString::from("-no-reboot")];
        let full = Machine {
            uefi: Some(Uefi {
                code: FlashFile::at(Path::new("/code.fd")),
                variables: FlashFile::at(Path::new("/vars.qcow2")),
                needs_smm: true,
            }),
            has_kvm: true,
            disk: Some("/tmp/disk.qcow2".into()),
            volume: Some("/tmp/cidata.img".into()),
            strings: vec!["name=a,b".into()],
            ssh_port: Some(2222),
            port: Port::Terminal,
            console_log: Some("/log".into()),
            more: &more,
            ..machine(&subject)
        };
        assert_eq!(
            line(&full),
            "-machine q35,smm=on -accel kvm -cpu host -global driver=cfi.pflash01,property=secure,value=on \
             -drive if=pflash,unit=0,readonly=on,format=raw,file=/code.fd \
             -drive if=pflash,unit=1,snapshot=on,format=qcow2,file=/vars.qcow2 \
             -m 1024 -smp 2 -display none -device virtio-rng-pci \
             -nic user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:2222-:22 \
             -chardev stdio,id=console,mux=on,signal=off,logfile=/log -serial chardev:console \
             -mon chardev=console,mode=readline \
             -drive if=none,id=disk,snapshot=on,format=qcow2,file=/tmp/disk.qcow2 \
             -device virtio-blk-pci,drive=disk,bootindex=1,logical_block_size=4096,physical_block_size=4096 \
             -drive if=none,id=volume,format=raw,readonly=on,file=/tmp/cidata.img -device virtio-blk-pci,drive=volume \
             -smbios type=11,value=name=a,,b -no-reboot"
        );
    }

    #[test]
    fn other_subjects_start_otherwise() {
        let initrd = Subject {
            path: "/x.img".into(),
            arch: Arch::Aarch64,
            kind: Kind::Initrd {
                kernel: "/vmlinuz-1".into(),
                size_bytes: 1,
            },
        };
        let text = line(&machine(&initrd));
        assert!(
            text.starts_with("-machine virt -accel tcg,thread=multi -cpu cortex-a72"),
            "{text}"
        );
        assert!(
            text.ends_with("-kernel /vmlinuz-1 -initrd /x.img -append console=ttyS0"),
            "{text}"
        );
        let cd = Subject {
            path: "/x.iso".into(),
            arch: Arch::X86_64,
            kind: Kind::Cd,
        };
        assert!(line(&machine(&cd)).ends_with("-cdrom /x.iso"));
    }
}
