//! The signer of a build.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::model::{PassphraseSource, Signing};
use crate::pipeline::request::BuildRequest;
use crate::sign::command::CommandSigner;
use crate::sign::key::{FileSigner, Passphrase};
use crate::sign::remembered::Remembering;
use crate::sign::{Certificate, SignError, Signer};

/// Opens the key that the template of `request` names, and checks it; None if the template signs nothing.
///
/// # Errors
/// [`SignError`], before any work.
pub fn open(request: &BuildRequest, cancel: &Cancel) -> Result<Option<Arc<Remembering>>, SignError> {
    let template = &request.loaded().template;
    let Some(signing) = template
        .system
        .signing
        .as_ref()
        .filter(|_| template.target.image_type.has_disk())
    else {
        return Ok(None);
    };
    let signer = signer(signing, request, cancel)?;
    let path = request.image_build().signatures();
    Ok(Some(Arc::new(Remembering::new(signer, path, request.from_scratch))))
}

fn signer(signing: &Signing, request: &BuildRequest, cancel: &Cancel) -> Result<Box<dyn Signer>, SignError> {
    let certificate = Certificate::read(&signing.certificate)?;
    let now = request.selecting.now;
    let Some(key) = &signing.key else {
        let argv = request.signing.command.clone();
        if argv.is_empty() {
            return Err(SignError::NoKey(signing.certificate.clone()));
        }
        return Ok(Box::new(CommandSigner::new(argv, certificate, now, cancel.clone())?));
    };
    let passphrase = match &signing.passphrase {
        None => None,
        Some(PassphraseSource::File(path)) => Some(Passphrase::read(path)?),
        Some(PassphraseSource::Credential(name)) => {
            let directory = request.signing.credentials.as_ref();
            let directory = directory.ok_or_else(|| SignError::Credential(name.clone()))?;
            Some(Passphrase::read(&directory.join(name))?)
        }
    };
    Ok(Box::new(FileSigner::open(key, passphrase.as_ref(), certificate, now)?))
}
