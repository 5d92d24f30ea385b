//! A virtual machine that boots an image and is talked to over its serial console.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FIRMWARE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const FIRMWARE_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// The firmware that verifies signatures, which keeps its variables from the running system.
const SECURE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";

/// The keys that a firmware has.
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// None: it verifies nothing, and takes the first ones that it gets.
    None,
    /// Those of Microsoft.
    Microsoft,
    /// That of the package ovmf, `/usr/share/ovmf/PkKek-1-snakeoil.key`.
    Snakeoil,
}

impl Keys {
    const fn variables(self) -> &'static str {
        match self {
            Self::None => FIRMWARE_VARIABLES,
            Self::Microsoft => "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
            Self::Snakeoil => "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd",
        }
    }
}

/// An optical medium.
#[derive(Debug, Clone, Copy)]
pub struct Medium<'a> {
    /// The file.
    pub path: &'a Path,
    /// Whether UEFI starts it; a BIOS otherwise.
    pub is_uefi: bool,
    /// Whether it is in a drive for CDs; a disk otherwise.
    pub is_cd: bool,
}

/// A running QEMU; ended when dropped.
pub struct Machine {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
    seen: usize,
    _variables: Option<tempfile::NamedTempFile>,
}

impl Machine {
    /// Boots the raw image `image` (which stays unchanged) with UEFI firmware under emulation.
    pub fn boot(image: &Path) -> Self {
        Self::boot_format(image, "raw")
    }

    /// Boots the raw image `image` as [`Self::boot`] does, with a BIOS.
    pub fn boot_bios(image: &Path) -> Self {
        let disk = format!("if=virtio,format=raw,file={}", image.display());
        let options = ["-drive".to_owned(), disk, "-m".to_owned(), "1024".to_owned()];
        Self::start(options.into_iter(), None)
    }

    /// Boots as [`Self::boot`] does from an image in `format`, a word of QEMU.
    pub fn boot_format(image: &Path, format: &str) -> Self {
        let variables = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(FIRMWARE_VARIABLES, variables.path()).expect("the package ovmf is needed");
        let drives = [
            format!("if=pflash,format=raw,readonly=on,file={FIRMWARE_CODE}"),
            format!("if=pflash,format=raw,file={}", variables.path().display()),
            format!("if=virtio,format={format},file={}", image.display()),
        ];
        let drives = drives.into_iter().flat_map(|drive| ["-drive".to_owned(), drive]);
        Self::start(drives.chain(["-m".into(), "1024".into()]), Some(variables))
    }

    /// Boots the raw image `image` with UEFI firmware that verifies signatures with `keys`, and starts again when the
    /// system asks for it.
    pub fn boot_secure(image: &Path, keys: Keys) -> Self {
        let variables = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(keys.variables(), variables.path()).expect("the package ovmf is needed");
        let options = [
            ("-machine", "q35,smm=on".to_owned()),
            ("-global", "driver=cfi.pflash01,property=secure,value=on".to_owned()),
            ("-action", "reboot=reset".to_owned()),
            ("-drive", format!("if=pflash,format=raw,readonly=on,file={SECURE_CODE}")),
            // Not a snapshot: keys that were enrolled stay.
            (
                "-drive",
                format!("if=pflash,format=raw,snapshot=off,file={}", variables.path().display()),
            ),
            ("-drive", format!("if=virtio,format=raw,file={}", image.display())),
            ("-m", "1024".to_owned()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        Self::start(options, Some(variables))
    }

    /// Boots from `medium`; the raw image `disk` is a further disk, and is changed.
    pub fn boot_medium(medium: Medium<'_>, disk: Option<&Path>) -> Self {
        let (kind, path) = (
            if medium.is_cd {
                "if=ide,media=cdrom"
            } else {
                "if=virtio"
            },
            medium.path.display(),
        );
        let mut drives = vec![format!("{kind},format=raw,readonly=on,file={path}")];
        let variables = medium.is_uefi.then(|| {
            let variables = tempfile::NamedTempFile::new().unwrap();
            std::fs::copy(FIRMWARE_VARIABLES, variables.path()).expect("the package ovmf is needed");
            drives.insert(0, format!("if=pflash,format=raw,readonly=on,file={FIRMWARE_CODE}"));
            drives.insert(1, format!("if=pflash,format=raw,file={}", variables.path().display()));
            variables
        });
        drives.extend(disk.map(|disk| format!("if=virtio,format=raw,snapshot=off,file={}", disk.display())));
        let drives = drives.into_iter().flat_map(|drive| ["-drive".to_owned(), drive]);
        Self::start(drives.chain(["-m".into(), "3072".into()]), variables)
    }

    /// Waits until the machine ends: it has been switched off, or has restarted.
    pub fn wait_for_end(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the machine still runs after {limit:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Boots the kernel with the initrd and the command line, without firmware and disk, under emulation.
    pub fn boot_kernel(kernel: &Path, initrd: &Path, command_line: &str) -> Self {
        let [kernel, initrd] = [kernel, initrd].map(|path| path.display().to_string());
        let options = [
            ("-kernel", kernel),
            ("-initrd", initrd),
            ("-append", command_line.to_owned()),
            ("-m", "3072".to_owned()),
        ];
        let options = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        Self::start(options, None)
    }

    fn start(options: impl Iterator<Item = String>, variables: Option<tempfile::NamedTempFile>) -> Self {
        let mut child = Command::new("qemu-system-x86_64")
            .args([
                "-machine",
                "q35",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
            ])
            .args([
                "-display",
                "none",
                "-monitor",
                "none",
                "-serial",
                "stdio",
                "-no-reboot",
                "-snapshot",
            ])
            .args(["-nic", "none"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the package qemu-system-x86 is needed");
        let keyboard = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                sink.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self {
            child,
            keyboard,
            screen,
            seen: 0,
            _variables: variables,
        }
    }

    /// Waits until `text` appears behind what was seen so far; returns what came before it.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> String {
        self.appears(text, limit).unwrap_or_else(|| {
            let ended = self.child.try_wait().unwrap();
            let screen = self.screen.lock().unwrap();
            let tail: Vec<_> = screen.lines().rev().take(60).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            panic!(
                "{text:?} did not appear within {limit:?} (ended: {ended:?}); the console ends:\n{}",
                tail.join("\n")
            );
        })
    }

    /// As [`Self::wait_for`], or `None` if it does not appear.
    fn appears(&mut self, text: &str, limit: Duration) -> Option<String> {
        let deadline = Instant::now() + limit;
        loop {
            {
                let screen = self.screen.lock().unwrap();
                if let Some(at) = screen[self.seen..].find(text) {
                    let before = screen[self.seen..self.seen + at].to_owned();
                    self.seen += at + text.len();
                    return Some(before);
                }
            }
            if Instant::now() > deadline || self.child.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Logs in at the serial console and leaves a shell without echo and prompt.
    pub fn log_in(&mut self, user: &str, password: &str, limit: Duration) {
        self.wait_for("login: ", limit);
        let deadline = Instant::now() + limit;
        while !self.try_log_in(user, password) {
            assert!(Instant::now() < deadline, "no shell answers within {limit:?}");
        }
        // Answers of earlier attempts may still come.
        while self.appears("ready", Duration::from_secs(1)).is_some() {}
    }

    /// Programs throw away what was typed before they read, so each line may have to be typed again.
    fn try_log_in(&mut self, user: &str, password: &str) -> bool {
        const SETTLED: Duration = Duration::from_millis(500);
        std::thread::sleep(SETTLED);
        self.type_line(user);
        // "Password: ", or "Passwort: " where the machine speaks German.
        if self.appears("Passwor", Duration::from_secs(20)).is_none() {
            return false;
        }
        std::thread::sleep(SETTLED);
        self.type_line(password);
        (0..8).any(|_| {
            std::thread::sleep(SETTLED);
            self.type_line("stty -echo; PS1=; bind 'set enable-bracketed-paste off'; echo rea''dy");
            self.appears("ready", Duration::from_secs(5)).is_some()
        })
    }

    /// Runs a shell command and returns its exit code and what it printed.
    pub fn run(&mut self, command: &str, limit: Duration) -> (i32, String) {
        self.type_line(&format!("echo '<'out; {command}; echo '<'code $? '>'"));
        self.wait_for("<out", limit);
        let output = self.wait_for("<code ", limit);
        let code = self.wait_for(">", limit);
        (code.trim().parse().unwrap(), output.replace('\r', "").trim().to_owned())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
