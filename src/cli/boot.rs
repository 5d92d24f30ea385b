//! `oic boot`.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use clap::{Args, ValueEnum, ValueHint};

use crate::cancel::Cancel;
use crate::durable::{self, PathError, ScratchDir};
use crate::emulator::arguments::{self, Machine, Port};
use crate::emulator::expect::Expect;
use crate::emulator::firmware::{self, Chosen, SecureBoot, Uefi};
use crate::emulator::run::{self, Console, Ending, Launcher};
use crate::emulator::subject::{self, Kind, Subject};
use crate::emulator::{self, EmulatorError, acceleration, guest};
use crate::mount::session::THIS_PROGRAM;
use crate::package::Arch;
use crate::pipeline::BuildRequest;
use crate::store::sweep;

use super::environment::{Environment, processors};
use super::error::{CommandError, tell};
use super::interrupt::Interrupt;
use super::templates::{self, ValueArgs};
use super::{GlobalOptions, words};

/// Exit code if an expected text did not appear in time, that of timeout(1).
const LATE: u8 = 124;
/// The memory of a machine with a disk, in MiB.
const MEMORY_MIB: u64 = 1024;
/// The least memory of a machine, in bytes.
const MEMORY_BYTES_MIN: u64 = 64 << 20;
/// The most processors of a machine, unless the user asks for more: a boot does not use them.
const PROCESSORS_MAX: usize = 4;
/// The largest configuration for cloud-init, in bytes.
const USER_DATA_BYTES_MAX: u64 = 1 << 20;
/// The public keys of a user, the preferred one first (ssh(1)).
const KEYS: [&str; 3] = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"];

/// What starts the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Firmware {
    /// UEFI.
    Uefi,
    /// A BIOS.
    Bios,
}

/// The keys of a firmware that starts signed programs only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keys {
    /// Those of Microsoft.
    Enrolled,
    /// None yet: the image enrolls its own.
    Setup,
}

/// What runs the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Accelerator {
    /// KVM if it works, which is tried.
    Auto,
    /// The processor of this host.
    Kvm,
    /// An emulated processor.
    Tcg,
}

/// Start an image in a virtual machine, which cannot change it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic boot debian13-x86_64-minimal           what the last build of this template made; leave it with Ctrl-A X
  oic boot image.qcow2                       any disk image, initrd (with its kernel beside it) or CD
  oic boot image.raw --ssh                   root may log in with your key; prints the command
  oic boot image.raw --expect 'login: $' --timeout 300    a test: the exit code says whether it appeared
  oic boot image.raw --disk-size 64GiB       on a larger disk
  oic boot image.raw --user-data my.yml      with a configuration for cloud-init
  oic boot image.raw -- -device usb-ehci     with further arguments of QEMU

What the machine writes is thrown away. Its first serial port is this terminal.

Exit codes: 0 the machine was switched off, or with --expect the text appeared; 1 failed, or the machine was switched off
before the text appeared; 124 the text did not appear in time; 130 interrupted.")]
pub struct BootArgs {
    /// Disk image, initrd, CD, template file, or the name of a template that oic brings
    #[arg(value_name = "IMAGE|TEMPLATE", value_hint = ValueHint::FilePath)]
    subject: OsString,
    #[command(flatten)]
    values: ValueArgs,
    /// What starts the machine [default: what the image is made for, UEFI if for both]
    #[arg(long, value_enum)]
    firmware: Option<Firmware>,
    /// Start signed programs only, by these keys [default: enrolled]
    #[arg(long, value_enum, value_name = "KEYS", num_args = 0..=1, require_equals = true, default_missing_value = "enrolled")]
    secure_boot: Option<Keys>,
    /// The program of the UEFI firmware [default: that of the host's packages]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    firmware_code: Option<PathBuf>,
    /// The variables of the UEFI firmware, its keys among them, when the machine starts
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    firmware_variables: Option<PathBuf>,
    /// What runs the machine
    #[arg(long, value_enum, default_value = "auto")]
    accel: Accelerator,
    /// Memory, such as 2GiB [default: 1GiB, more for a large initrd]
    #[arg(long, value_name = "SIZE", value_parser = words::parse_size)]
    memory: Option<u64>,
    /// Number of processors [default: those of this host, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=255))]
    cpus: Option<u16>,
    /// Size of the disk, such as 64GiB; the image itself stays as it is [default: that of the image]
    #[arg(long, value_name = "SIZE", value_parser = words::parse_size)]
    disk_size: Option<u64>,
    /// Configuration for cloud-init, on a volume CIDATA
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    user_data: Option<PathBuf>,
    /// Let root log in with a public key, through a port of this host; needs systemd and an SSH server in the image
    #[arg(long)]
    ssh: bool,
    /// That public key [default: the first of ~/.ssh/id_ed25519.pub, id_ecdsa.pub, id_rsa.pub]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "ssh")]
    ssh_key: Option<PathBuf>,
    /// That port [default: a free one]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), requires = "ssh")]
    ssh_port: Option<u16>,
    /// Wait for a line of the console with this text, a regular expression, and end; several must appear in this order
    #[arg(long, value_name = "REGEX")]
    expect: Vec<String>,
    /// The time for that, in seconds
    #[arg(long, value_name = "S", default_value = "600", requires = "expect", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// Also write what the console says to this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    console_log: Option<PathBuf>,
    /// Further words of the kernel's command line; with systemd-boot or an initrd
    #[arg(long, value_name = "WORDS")]
    append: Option<String>,
    /// QEMU [default: qemu-system-{architecture of the image}]
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::CommandName)]
    qemu: Option<OsString>,
    /// Further arguments of QEMU
    #[arg(last = true, value_name = "ARGUMENTS")]
    more: Vec<OsString>,
}

/// Starts the machine and stays with it.
pub fn run(global: &GlobalOptions, args: &BootArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let expect = Expect::new(&args.expect).map_err(|error| CommandError::usage(format!("--expect: {error}")))?;
    let subject = Subject::of(&find(&environment, args)?)?;
    let uefi = uefi(args, &subject)?;
    let cancel = interrupt.cancel();
    sweep::temporary(&environment.temp_dir());
    let scratch = ScratchDir::create_in(&environment.temp_dir())?;
    let launcher = Launcher {
        helper: THIS_PROGRAM.into(),
        program: args
            .qemu
            .clone()
            .unwrap_or_else(|| emulator::program(subject.arch).into()),
        arch: subject.arch,
        temp_dir: scratch.path().to_owned(),
    };
    let machine = machine(args, &subject, uefi, (&launcher, scratch.path(), &cancel))?;
    let arguments = arguments::of(&machine);
    tracing::debug!(?arguments, "QEMU starts");
    if !args.expect.is_empty() {
        let console = Console::Searched {
            expect,
            limit: Duration::from_secs(args.timeout),
            sink: &mut io::stdout().lock(),
        };
        return verdict(run::run(&launcher, &arguments, console, &cancel)?, args.timeout);
    }
    if machine.port == Port::Terminal {
        tell(&format_args!("note: leave the machine with Ctrl-A X"));
    }
    run::run(&launcher, &arguments, Console::Inherited, &cancel)?;
    Ok(())
}

/// Finds the file that the argument means: itself, or what the last build of the template has made.
fn find(environment: &Environment, args: &BootArgs) -> Result<PathBuf, CommandError> {
    let path = Path::new(&args.subject);
    let is_template = path.extension().is_some_and(|end| end == "yml" || end == "yaml");
    if path.exists() && !is_template {
        return Ok(path.to_owned());
    }
    let is_path = args.subject.as_encoded_bytes().contains(&b'/') && !is_template;
    if is_path {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        return Err(PathError::on("open", path)(missing).into());
    }
    let loaded = templates::load(environment, &args.subject, &args.values)?;
    let mirrors = environment.mirrors(&[])?;
    let request = BuildRequest::new(templates::selecting(environment, loaded, mirrors, true));
    let places = request.bootable();
    places.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        let name = &request.loaded().template.system.name;
        let place = places
            .first()
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        let missing = CommandError::failed(format!("{name} is not built yet: there is no {place}"));
        missing.hint(Some(format!("build it first: oic build {}", args.subject.display())))
    })
}

/// Finds the UEFI firmware, if one starts the subject.
fn uefi(args: &BootArgs, subject: &Subject) -> Result<Option<Uefi>, CommandError> {
    let secure_boot = match args.secure_boot {
        None => SecureBoot::Off,
        Some(Keys::Enrolled) => SecureBoot::Enrolled,
        Some(Keys::Setup) => SecureBoot::Setup,
    };
    let chosen = Chosen {
        code: args.firmware_code.clone(),
        variables: args.firmware_variables.clone(),
    };
    let asks_for_uefi = secure_boot != SecureBoot::Off || chosen.code.is_some() || chosen.variables.is_some();
    let firmware = match args.firmware {
        Some(Firmware::Bios) if asks_for_uefi => {
            return Err(CommandError::usage(
                "a BIOS has no Secure Boot, and no files of a UEFI firmware",
            ));
        }
        Some(Firmware::Bios) => subject::Firmware::Bios,
        Some(Firmware::Uefi) => subject::Firmware::Uefi,
        None if asks_for_uefi => subject::Firmware::Uefi,
        None => subject.firmware()?,
    };
    match (firmware, &subject.kind) {
        (subject::Firmware::Bios, Kind::Disk { .. } | Kind::Cd) if subject.arch != Arch::X86_64 => {
            let (arch, what) = (subject.arch, "BIOS");
            Err(EmulatorError::NoSuchFirmware { arch, what }.into())
        }
        (subject::Firmware::Bios, _) => Ok(None),
        (subject::Firmware::Uefi, _) => Ok(Some(firmware::find(subject.arch, secure_boot, &chosen)?)),
    }
}

/// Puts the machine together; what it needs besides goes to a directory.
fn machine<'a>(
    args: &'a BootArgs,
    subject: &'a Subject,
    uefi: Option<Uefi>,
    (launcher, directory, cancel): (&Launcher, &Path, &Cancel),
) -> Result<Machine<'a>, CommandError> {
    let wish = match args.accel {
        Accelerator::Auto => acceleration::Wish::Auto,
        Accelerator::Kvm => acceleration::Wish::Kvm,
        Accelerator::Tcg => acceleration::Wish::Emulation,
    };
    let user_data = args.user_data.as_deref().map(read_user_data).transpose()?;
    let volume = user_data
        .map(|text| guest::volume(directory, &text, cancel))
        .transpose()?;
    let is_for_people = args.expect.is_empty() && io::stdin().is_terminal();
    let mut strings = Vec::new();
    let ssh_port = if args.ssh {
        Some(let_in(args, &mut strings)?)
    } else {
        None
    };
    if let (Some(words), Kind::Disk { .. }) = (&args.append, &subject.kind) {
        strings.extend(guest::kernel_words(words));
    }
    Ok(Machine {
        disk: larger_disk(args, subject, directory)?,
        has_kvm: acceleration::choose(launcher, uefi.as_ref(), wish)?,
        memory_mib: memory_mib(args, subject)?,
        processors: args.cpus.map_or_else(|| processors().min(PROCESSORS_MAX), usize::from),
        subject,
        uefi,
        volume,
        strings,
        ssh_port,
        kernel_words: args.append.as_deref().unwrap_or(serial_console(subject.arch)),
        port: if is_for_people { Port::Terminal } else { Port::Output },
        console_log: args.console_log.clone(),
        more: &args.more,
    })
}

/// Returns the words that give a kernel the first serial port as its console.
fn serial_console(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "console=ttyS0",
        Arch::Aarch64 | Arch::Armv7hl => "console=ttyAMA0",
    }
}

fn memory_mib(args: &BootArgs, subject: &Subject) -> Result<u64, CommandError> {
    match (args.memory, &subject.kind) {
        (Some(bytes), _) if bytes < MEMORY_BYTES_MIN => {
            Err(CommandError::usage("--memory: no machine starts with less than 64 MiB"))
        }
        (Some(bytes), _) => Ok(bytes >> 20),
        // The file, and what it unpacks to, are in memory at the same time.
        (None, Kind::Initrd { size_bytes, .. }) => Ok(MEMORY_MIB.max(512 + (size_bytes >> 20) * 5)),
        (None, _) => Ok(MEMORY_MIB),
    }
}

/// Makes the larger disk, if the user wants one.
fn larger_disk(args: &BootArgs, subject: &Subject, directory: &Path) -> Result<Option<PathBuf>, CommandError> {
    let Some(wanted) = args.disk_size else { return Ok(None) };
    let Kind::Disk { format, size_bytes, .. } = &subject.kind else {
        return Err(EmulatorError::NotADisk(subject.path.clone()).into());
    };
    if wanted < *size_bytes {
        return Err(EmulatorError::Smaller(*size_bytes).into());
    }
    Ok(Some(guest::larger_disk(directory, &subject.path, format, wanted)?))
}

fn read_user_data(path: &Path) -> Result<Vec<u8>, CommandError> {
    let file = durable::open_regular(path).map_err(PathError::on("open", path))?;
    Ok(durable::read_at_most(file, USER_DATA_BYTES_MAX).map_err(PathError::on("read", path))?)
}

/// Gives root a key, and the machine a port, whose number it returns and prints.
fn let_in(args: &BootArgs, strings: &mut Vec<String>) -> Result<u16, CommandError> {
    let key = match &args.ssh_key {
        Some(path) => path.clone(),
        None => own_key(env::var_os("HOME").as_deref())?,
    };
    let content = fs::read(&key).map_err(PathError::on("read", &key))?;
    strings.push(guest::root_keys(&content));
    let port = match args.ssh_port {
        Some(port) => port,
        None => free_port().map_err(|error| CommandError::failed(format!("no port is free: {error}")))?,
    };
    let options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null";
    tell(&format_args!("note: ssh -p {port} {options} root@127.0.0.1"));
    Ok(port)
}

fn own_key(home: Option<&OsStr>) -> Result<PathBuf, CommandError> {
    let directory = home.map(|home| Path::new(home).join(".ssh"));
    let keys = directory
        .iter()
        .flat_map(|directory| KEYS.map(|name| directory.join(name)));
    keys.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let missing = CommandError::failed("there is no public key in ~/.ssh");
        missing.hint(Some("make one with ssh-keygen, or name one with --ssh-key"))
    })
}

/// Finds a port of this host that no process listens on.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Turns the end of a machine that was searched into that of the command.
fn verdict(ending: Ending, limit: u64) -> Result<(), CommandError> {
    match ending {
        Ending::Seen | Ending::Off => Ok(()),
        Ending::Unseen(text) => {
            let message = format!("the machine was switched off, and {text:?} did not appear");
            Err(CommandError::verdict(1, "not seen", message))
        }
        Ending::Late(text) => {
            let message = format!("{text:?} did not appear within {limit} seconds");
            Err(CommandError::verdict(LATE, "too late", message))
        }
    }
}
