//! `oic sign`: signatures whose key is not on this host.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};

use crate::boot::authenticode;
use crate::durable::{self, AtomicFile, PathError};
use crate::image::content::Source;
use crate::sign::Certificate;

use super::error::{CommandError, print_line};

/// The largest program and signature, in bytes.
const PROGRAM_LIMIT_BYTES: u64 = 1 << 30;
const SIGNATURE_LIMIT_BYTES: u64 = 64 << 10;

/// Sign EFI programs with a key that is on another machine
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic sign prepare linux.efi -o to-sign.bin
  openssl dgst -sha256 -sign db.key -out signature.bin to-sign.bin      (where the key is)
  oic sign attach linux.efi --certificate db.crt --signature signature.bin -o linux.signed.efi

A build signs by itself with the key of systemConfig.signing, or through the sign_command of the configuration.")]
pub struct SignArgs {
    #[command(subcommand)]
    command: SignCommand,
}

#[derive(Debug, Subcommand)]
enum SignCommand {
    /// Write what has to be signed of a program: the bytes whose SHA-256 digest a key signs
    Prepare(PrepareArgs),
    /// Add a signature of such bytes to the program
    Attach(AttachArgs),
}

/// The arguments of `sign prepare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic sign prepare linux.efi --output to-sign.bin
  openssl dgst -sha256 -sign db.key -out signature.bin to-sign.bin      (where the key is)")]
struct PrepareArgs {
    /// EFI program, such as a unified kernel image
    #[arg(value_hint = ValueHint::FilePath)]
    program: PathBuf,
    /// File for the bytes to be signed
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,
}

/// The arguments of `sign attach`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic sign attach linux.efi --certificate db.crt --signature signature.bin --output linux.signed.efi")]
struct AttachArgs {
    /// EFI program, the same as for prepare
    #[arg(value_hint = ValueHint::FilePath)]
    program: PathBuf,
    /// Certificate of the key, PEM or DER
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    certificate: PathBuf,
    /// Signature: of RSA by PKCS #1 v1.5, of ECDSA the DER sequence of its numbers
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    signature: PathBuf,
    /// File for the signed program
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,
}

/// Prepares or attaches.
pub fn run(args: &SignArgs) -> Result<(), CommandError> {
    match &args.command {
        SignCommand::Prepare(args) => {
            let program = read(&args.program, PROGRAM_LIMIT_BYTES)?;
            let bytes = authenticode::to_sign(&Source::Bytes(program)).map_err(about(&args.program))?;
            write(&args.output, &Source::Bytes(bytes))
        }
        SignCommand::Attach(args) => {
            let certificate = Certificate::read(&args.certificate).map_err(CommandError::failed)?;
            let signature = read(&args.signature, SIGNATURE_LIMIT_BYTES)?;
            let program = Source::Bytes(read(&args.program, PROGRAM_LIMIT_BYTES)?);
            let signed = authenticode::attach(&program, &certificate, &signature).map_err(about(&args.program))?;
            write(&args.output, &signed)
        }
    }
}

/// Names `path` in an error about its content.
fn about<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> CommandError {
    move |error| CommandError::failed(format!("{}: {error}", path.display()))
}

fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, CommandError> {
    let read = durable::open_regular(path).and_then(|file| durable::read_at_most(file, limit_bytes));
    read.map_err(|error| CommandError::failed(PathError::on("read", path)(error)))
}

fn write(path: &Path, source: &Source) -> Result<(), CommandError> {
    let mut file = AtomicFile::create_public(path).map_err(CommandError::failed)?;
    let copied = io::copy(&mut source.reader(), file.file());
    copied.map_err(|error| CommandError::failed(PathError::on("write", path)(error)))?;
    file.commit().map_err(CommandError::failed)?;
    print_line(&path.display().to_string())
}
