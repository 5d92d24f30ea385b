//! What the stages of a build share.

use std::sync::Arc;

use crate::fetch::{FetchError, FetchOptions, Fetcher, Network};
use crate::pipeline::encryption::Keys;
use crate::pipeline::error::BuildError;
use crate::pipeline::report::Timeline;
use crate::pipeline::request::BuildRequest;
use crate::pipeline::reused::Reused;
use crate::pipeline::shared::Shared;
use crate::repo::{LoadOptions, Loader};
use crate::sign::remembered::Remembering;
use crate::system::{self, System};
use crate::template::Loaded;
use crate::work::Work;
use crate::workspace::Workspace;

/// What the stages share.
pub struct Context<'a> {
    /// What the caller asked for.
    pub request: &'a BuildRequest,
    /// The package system of the provider.
    pub system: &'a dyn System,
    /// What the builds of one call share.
    pub shared: &'a Shared,
    /// The provider's files.
    pub workspace: Workspace,
    /// The downloads.
    pub fetcher: Fetcher,
    /// Where the build reports, what ends it early, and the number of its threads.
    pub work: Work<'a>,
    /// The time that each stage takes.
    pub timeline: Timeline,
    /// The layers of earlier builds that this one uses.
    pub reused: Reused,
    /// The signer of what the firmware starts, if the template has one.
    pub signer: Option<Arc<Remembering>>,
    /// The keys of the encrypted partitions, if the template has some.
    pub keys: Option<Keys>,
}

impl<'a> Context<'a> {
    /// Prepares a build that began with `timeline`.
    ///
    /// # Errors
    /// If downloads cannot be set up.
    pub fn new(
        request: &'a BuildRequest,
        shared: &'a Shared,
        work: Work<'a>,
        timeline: Timeline,
    ) -> Result<Self, BuildError> {
        let selecting = &request.selecting;
        Ok(Self {
            request,
            system: system::of(selecting.loaded.provider.packages.system),
            shared,
            workspace: request.workspace(),
            fetcher: Fetcher::new(options(request), work.cancel.clone())?,
            work,
            timeline,
            reused: Reused::default(),
            signer: None,
            keys: None,
        })
    }

    /// Makes downloads from servers with any certificate; only for files of which the digest is known. Such a server may be
    /// anyone's: it gets neither passwords nor certificates.
    ///
    /// # Errors
    /// If downloads cannot be set up.
    pub fn fetcher_of_any_certificate(&self) -> Result<Fetcher, FetchError> {
        let usual = options(self.request);
        let options = FetchOptions {
            any_certificate: true,
            network: Network {
                proxies: usual.network.proxies.clone(),
                ..Network::default()
            },
            ..usual
        };
        Fetcher::new(options, self.work.cancel.clone())
    }

    /// Gives the template and its provider.
    pub fn loaded(&self) -> &'a Loaded {
        self.request.loaded()
    }

    /// Gives what loads the metadata of repositories.
    pub fn loader(&self) -> Loader<'_> {
        let selecting = &self.request.selecting;
        Loader {
            options: LoadOptions {
                arch: selecting.loaded.template.target.arch,
                foreign: selecting.loaded.template.system.foreign_architectures.clone(),
                metadata_dir: self.workspace.metadata(),
                now: selecting.now,
                offline: selecting.offline,
                workers: selecting.workers,
            },
            transport: &self.fetcher,
            work: self.work,
        }
    }
}

/// Gives the settings of the downloads of `request`.
fn options(request: &BuildRequest) -> FetchOptions {
    let selecting = &request.selecting;
    FetchOptions {
        workers: selecting.workers,
        offline: selecting.offline,
        network: selecting.network.clone(),
        ..FetchOptions::default()
    }
}
