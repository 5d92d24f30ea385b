//! `oic cache`.

use clap::{Args, Subcommand};

use crate::provider::Provider;
use crate::store::clean::{self, Scope};
use crate::store::{self, Store, StoreError};
use crate::yaml::did_you_mean;

use super::environment::Environment;
use super::error::{CommandError, print_line, print_versioned};
use super::interrupt::Interrupt;
use super::{Format, GlobalOptions, templates, words};

mod gc;
mod stats;
mod verify;

/// Inspect, check and clean what builds keep
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic cache stats                              what there is, and how much
  oic cache verify --repair                    hash everything, remove what is bad
  oic cache gc --unused-for 180d --max-size 40G
  oic cache clean --all --dry-run              what a new start would remove")]
pub struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    Clean(CleanArgs),
    Stats(stats::StatsArgs),
    Verify(verify::VerifyArgs),
    Gc(gc::GcArgs),
}

/// The provider that a command is limited to.
#[derive(Debug, Args)]
struct OnlyArgs {
    /// Only what belongs to this provider: {os}-{dist}-{arch} [default: all]
    #[arg(long, value_name = "ID")]
    provider_id: Option<String>,
}

/// Remove cached packages, bases or images
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oic cache clean                    all cached packages; the next build fetches them again
  oic cache clean --workspace --provider-id debian-debian13-x86_64
                                     the base of one provider; the next build makes it again
  oic cache clean --all --dry-run    what packages and bases take, without removing them
  oic cache clean --images           what builds made: images, logs, lockfiles

Nothing is removed while a build runs or something is mounted. Images stay without --images.")]
struct CleanArgs {
    /// Package caches with their repository metadata (the default)
    #[arg(long)]
    packages: bool,
    /// Bases: snapshots, what was unpacked of them, step layers; also the data kept for mounted tarballs
    #[arg(long)]
    workspace: bool,
    /// Images and all else in the directories of builds
    #[arg(long)]
    images: bool,
    /// Packages and bases
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    only: OnlyArgs,
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Runs the command.
pub fn run(global: &GlobalOptions, args: &CacheArgs, interrupt: &Interrupt) -> Result<(), CommandError> {
    let environment = Environment::load(global, None)?;
    let store = Store {
        cache_dir: environment.cache_dir(),
        work_dir: environment.work_dir(),
    };
    super::mount::clear_dead()?;
    match &args.command {
        CacheCommand::Clean(args) => run_clean(&environment, &store, args, interrupt),
        CacheCommand::Stats(args) => stats::run(&environment, &store, args),
        CacheCommand::Verify(args) => verify::run(&environment, &store, args, interrupt),
        CacheCommand::Gc(args) => gc::run(&environment, &store, args, interrupt),
    }
}

fn run_clean(
    environment: &Environment,
    store: &Store,
    args: &CleanArgs,
    interrupt: &Interrupt,
) -> Result<(), CommandError> {
    let scope = Scope {
        packages: args.packages || args.all || !(args.workspace || args.images),
        workspace: args.workspace || args.all,
        images: args.images,
    };
    let only = args.only.checked(environment, store)?;
    let cleaned = clean::clean(store, scope, only, args.dry_run, &interrupt.cancel())?;
    if args.format == Format::Json {
        return print_versioned(&cleaned);
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    for part in &cleaned.parts {
        let (size, path) = (words::size(part.size.disk_bytes), part.path.display());
        let owner = part
            .provider
            .as_ref()
            .map_or_else(String::new, |id| format!(" of {id}"));
        print_line(&format!("{verb} {size:>10}  {}{owner}  {path}", part.share.name()))?;
    }
    for path in &cleaned.kept {
        print_line(&format!("kept, a download of it is running: {}", path.display()))?;
    }
    if cleaned.parts.is_empty() {
        print_line("there is nothing to remove")?;
    }
    Ok(())
}

impl OnlyArgs {
    /// Gives the provider's id if the store has data of it or the program knows it.
    fn checked(&self, environment: &Environment, store: &Store) -> Result<Option<&str>, CommandError> {
        let Some(id) = self.provider_id.as_deref() else {
            return Ok(None);
        };
        let found = store::providers(store, None).map_err(StoreError::from)?;
        let mut known: Vec<String> = found.into_iter().map(|provider| provider.id).collect();
        known.extend(templates::providers(environment)?.all().iter().map(Provider::id));
        if known.iter().any(|known| known == id) {
            return Ok(Some(id));
        }
        let meant = did_you_mean(id, known.iter().map(String::as_str));
        let unknown = CommandError::usage(format!("there is no provider {id:?}"));
        Err(unknown.hint(meant.map(|meant| format!("did you mean {meant:?}?"))))
    }
}
