//! Signatures by a program of the user's, which has the key or knows who has it: a KMS, an HSM, a token.
//!
//! The contract: the program is started with the arguments of the configuration, without a shell. It gets the bytes to be
//! signed on its standard input, signs their SHA-256 digest with the key of the certificate, and writes the signature to
//! its standard output: of RSA the PKCS #1 v1.5 signature, of ECDSA the DER sequence of its numbers. Exit code 0 means
//! that it did. `openssl dgst -sha256 -sign KEY` and `pkcs11-tool --sign --mechanism SHA256-RSA-PKCS` work like this.
//! What it writes to its standard error is shown if it fails. Its answer is verified before it is used.

use std::io::{Read, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::{Certificate, SignError, Signer};
use crate::cancel::Cancel;
use crate::durable;

/// The longest that the program may take: a person may have to touch a token.
const LIMIT: Duration = Duration::from_secs(300);
/// The time between two looks at the program.
const LOOK: Duration = Duration::from_millis(10);
/// The time that its output has to end after the program.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The most that is read of its output, in bytes.
const OUTPUT_LIMIT_BYTES: u64 = 64 << 10;

/// A signer whose key a program has.
#[derive(Debug)]
pub struct CommandSigner {
    certificate: Certificate,
    argv: Vec<String>,
    cancel: Cancel,
}

impl CommandSigner {
    /// Makes a signer that starts `argv` for each signature with the key of `certificate`, which is valid at `now`, and
    /// ends it if `cancel` is set.
    ///
    /// # Errors
    /// [`SignError::NotValid`].
    pub fn new(
        argv: Vec<String>,
        certificate: Certificate,
        now: SystemTime,
        cancel: Cancel,
    ) -> Result<Self, SignError> {
        certificate.check(now)?;
        Ok(Self {
            certificate,
            argv,
            cancel,
        })
    }

    /// Returns the program's name.
    fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    fn failed(&self, problem: impl Into<String>) -> SignError {
        SignError::Command {
            program: self.program().to_owned(),
            problem: problem.into(),
        }
    }

    /// Waits for `child`; ends it if it takes too long or the user asks to stop.
    fn wait(&self, child: &mut Child) -> Result<ExitStatus, SignError> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = child.try_wait().map_err(|error| self.failed(error.to_string()))? {
                return Ok(status);
            }
            let stopped = self.cancel.check();
            if stopped.is_err() || Instant::now() > deadline {
                // If it has just ended there is nothing to kill.
                let _ = child.kill();
                let _ = child.wait();
                stopped?;
                return Err(self.failed(format!("has not answered within {} s", LIMIT.as_secs())));
            }
            thread::sleep(LOOK);
        }
    }

    /// Runs the program on `message`; returns what it wrote.
    fn run(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut command = Command::new(self.program());
        command.args(self.argv.iter().skip(1));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| self.failed(format!("cannot be started: {error}")))?;
        let stdin = child.stdin.take();
        let message = message.to_owned();
        // A program that does not read its input says itself what is wrong. No thread is waited for after a failure:
        // what the program has started may keep its pipes open.
        thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&message)));
        let (output, told) = (reader(child.stdout.take()), reader(child.stderr.take()));
        let status = self.wait(&mut child)?;
        if !status.success() {
            let told = told.recv_timeout(LAST_WORDS).ok().flatten().unwrap_or_default();
            let told = String::from_utf8_lossy(&told).trim().to_owned();
            let last = told.lines().last().map_or(String::new(), |line| format!(": {line}"));
            return Err(self.failed(format!("ended with {status}{last}")));
        }
        let output = output.recv_timeout(LAST_WORDS).ok().flatten();
        output.ok_or_else(|| self.failed("does not end its answer, or answers more than a signature"))
    }
}

/// Starts to read all that a program writes; gives nothing if it is too much.
fn reader(from: Option<impl Read + Send + 'static>) -> Receiver<Option<Vec<u8>>> {
    let (give, take) = mpsc::channel();
    thread::spawn(move || {
        let read = from.and_then(|from| durable::read_at_most(from, OUTPUT_LIMIT_BYTES).ok());
        // Nobody waits for it any more if the program failed.
        let _ = give.send(read);
    });
    take
}

impl Signer for CommandSigner {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.run(message)?;
        self.certificate.verify(message, &signature)?;
        Ok(signature)
    }
}
