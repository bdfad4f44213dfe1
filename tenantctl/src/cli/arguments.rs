//! What can be asked for on the command line, each value parsed as it is read.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use shared::config::seconds;
use shared::tenant::{TenantId, Tier};

use super::exit::EXIT_CODES;
use crate::apply::MAX_ATTEMPTS;
use crate::git::{Author, Branch};
use crate::message::Kind;
use crate::request::{HoldReason, Percent, ReleaseVersion, Request, RequestId, Wave};
use crate::worker::WorkerConfig;

/// Onboards, deploys, moves and offboards tenants by commits to the GitOps repository
#[derive(Debug, Parser)]
#[command(name = "tenantctl", bin_name = "tenantctl", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// The GitOps repository: a URL without user or password, or a path; for list, lint and diff a folder does, too
    // A text until it is known to hold no password: the library repeats a value it does not like.
    #[arg(
        long,
        global = true,
        env = "GITOPS_REPOSITORY",
        hide_env_values = true,
        value_name = "URL|PATH"
    )]
    pub(super) repository: Option<String>,

    /// The branch that Flux follows
    #[arg(
        long,
        global = true,
        env = "GITOPS_BRANCH",
        value_name = "BRANCH",
        default_value = "main"
    )]
    pub(super) branch: Branch,

    /// Who commits
    #[arg(long, global = true, env = "GITOPS_AUTHOR", value_name = "NAME <ADDRESS>", default_value_t = Author::tenantctl())]
    pub(super) author: Author,

    /// The user whose password --password-file holds
    #[arg(
        long,
        global = true,
        env = "GITOPS_USERNAME",
        value_name = "USER",
        default_value = "git"
    )]
    pub(super) username: String,

    /// A file whose first line is the password or token; without it git's own credential helper or SSH agent is asked
    #[arg(long, global = true, env = "GITOPS_PASSWORD_FILE", value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,

    /// Where mirrors of repositories are kept [default: tenantctl in the user's cache folder]
    #[arg(long, global = true, env = "GITOPS_CACHE_DIR", value_name = "FOLDER")]
    pub(super) cache_dir: Option<PathBuf>,

    /// Seconds that one call of git may take
    #[arg(long, global = true, env = "GITOPS_TIMEOUT_SECONDS", value_name = "SECONDS", default_value = "300", value_parser = seconds(1, 3600))]
    pub(super) git_timeout_seconds: Duration,

    /// Pushes tried while others move the branch
    #[arg(long, global = true, env = "GITOPS_ATTEMPTS", value_name = "NUMBER", default_value_t = MAX_ATTEMPTS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) attempts: u32,

    /// How answers look
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    pub(super) output: Output,

    /// The id a change is known by: repeated under the same id it is done once; a new id where unset
    #[arg(long, global = true, value_name = "ID")]
    pub(super) request_id: Option<RequestId>,
}

/// How answers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Lines for people.
    Text,
    /// One JSON object.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Change(Change),

    /// Show what a change would do, as a patch for git apply; changes nothing
    Diff {
        #[command(subcommand)]
        change: Change,
    },

    /// List the tenants and pools
    List {
        /// Only this tier
        #[arg(long, value_name = "TIER", value_parser = tier())]
        tier: Option<Tier>,
    },

    /// Check the repository: every file, every reference, every value
    Lint,

    /// Carry out one lifecycle message and end: a step of a workflow
    ///
    /// The message is what the lifecycle queues hold, and is carried out as the worker does. A request_id in it comes
    /// before --request-id, which is the message's id in its queue: delivered again, it is done once. Codes 2 to 5 stay
    /// the same however often it is tried; after 1, 6 and 7 it may be tried again.
    Handle {
        /// Which lifecycle queue it came from
        #[arg(long, value_name = "KIND", value_parser = kind())]
        kind: Kind,
        /// The message's body in base64: with padding, in one line, of at most 64 KiB
        // Decoded later: the library repeats a value it does not like, however long.
        #[arg(long, value_name = "BASE64")]
        message_base64: String,
    },

    /// Work off the lifecycle queues until told to stop
    Worker(WorkerConfig),

    /// Print a completion script
    Completion {
        /// The shell it is for
        shell: Shell,
    },
}

/// A change of the repository.
#[derive(Debug, Subcommand)]
pub(super) enum Change {
    /// Add a tenant
    Onboard {
        /// Its id: 1 to 32 of a-z, 0-9 and -
        tenant: TenantId,
        /// What it has bought
        #[arg(long, value_name = "TIER", value_parser = tier())]
        tier: Tier,
        /// The release it starts with: 0.1 for every patch of it, or 0.1.3
        #[arg(long, value_name = "RELEASE")]
        release: ReleaseVersion,
    },

    /// Take a tenant's apps away; its data stays, protected, and its id stays taken
    Offboard {
        /// Its id
        tenant: TenantId,
        /// The tier it is believed to be in; another one is a conflict
        #[arg(long, value_name = "TIER", value_parser = tier())]
        tier: Option<Tier>,
        /// Lift the protection of its data, which then goes with forget; also later, of a tenant that is gone
        #[arg(long)]
        delete_data: bool,
    },

    /// Take away what is left of an offboarded tenant: its data goes, its id is free
    ///
    /// The last step, after offboard --delete-data, once the cluster has applied that: the Terraform object goes with the
    /// tombstone, and destroys the tenant's queue and tables. What it has in the tables of a pool is not among that.
    Forget {
        /// Its id
        tenant: TenantId,
    },

    /// Give a tier, or a wave of it, another release; tenants on hold keep theirs
    Deploy {
        /// The tier
        #[arg(long, value_name = "TIER", value_parser = tier())]
        tier: Tier,
        /// The release
        #[arg(long, value_name = "RELEASE")]
        release: ReleaseVersion,
        #[command(flatten)]
        wave: WaveArguments,
    },

    /// Change a tenant's tier
    ///
    /// Between advanced and premium the queue, the table and what is in them stay. From or to basic the tenant's events
    /// get another table: what is stored so far stays in the old one, and GET /consumer/messages no longer shows it. That
    /// needs --leave-data.
    Move {
        /// Its id
        tenant: TenantId,
        /// The tier it changes to
        #[arg(long, value_name = "TIER", value_parser = tier())]
        to: Tier,
        /// Accept that events stored so far stay in the table they are in
        #[arg(long)]
        leave_data: bool,
    },

    /// Take a tenant's routes away; everything else goes on
    Suspend {
        /// Its id
        tenant: TenantId,
    },

    /// Give a suspended tenant its routes back
    Resume {
        /// Its id
        tenant: TenantId,
    },

    /// Have waves skip a tenant
    Hold {
        /// Its id
        tenant: TenantId,
        /// Why, for whoever wonders
        #[arg(long, value_name = "TEXT")]
        reason: HoldReason,
    },

    /// Have waves take a tenant along again
    Unhold {
        /// Its id
        tenant: TenantId,
    },
}

/// Which tenants of a tier; all of them where nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct WaveArguments {
    /// Only these tenants, separated by commas
    #[arg(long, value_name = "TENANT", value_delimiter = ',')]
    canary: Vec<TenantId>,
    /// About this share of the tier: the same tenants every time, and more with a larger share
    #[arg(long, value_name = "PERCENT")]
    percent: Option<Percent>,
    /// Everyone who does not have the release yet
    #[arg(long)]
    rest: bool,
}

impl From<WaveArguments> for Wave {
    fn from(arguments: WaveArguments) -> Self {
        match arguments {
            WaveArguments {
                percent: Some(share),
                ..
            } => Self::Percent(share),
            WaveArguments { rest: true, .. } => Self::Rest,
            WaveArguments { canary, .. } if canary.is_empty() => Self::All,
            WaveArguments {
                canary: tenants, ..
            } => Self::Canary { tenants },
        }
    }
}

impl From<Change> for Request {
    fn from(change: Change) -> Self {
        match change {
            Change::Onboard {
                tenant,
                tier,
                release,
            } => Self::Onboard {
                tenant,
                tier,
                release,
            },
            Change::Offboard {
                tenant,
                tier,
                delete_data,
            } => Self::Offboard {
                tenant,
                tier,
                delete_data,
            },
            Change::Forget { tenant } => Self::Forget { tenant },
            Change::Deploy {
                tier,
                release,
                wave,
            } => Self::Deploy {
                tier,
                release,
                wave: wave.into(),
            },
            Change::Move {
                tenant,
                to,
                leave_data,
            } => Self::Move {
                tenant,
                to,
                leave_data,
            },
            Change::Suspend { tenant } => Self::Suspend { tenant },
            Change::Resume { tenant } => Self::Resume { tenant },
            Change::Hold { tenant, reason } => Self::Hold { tenant, reason },
            Change::Unhold { tenant } => Self::Unhold { tenant },
        }
    }
}

/// A tier's name, with all of them for help and completion.
fn tier() -> impl TypedValueParser<Value = Tier> {
    PossibleValuesParser::new(Tier::ALL.map(Tier::as_str)).map(|name| {
        name.parse::<Tier>()
            .expect("only tiers' names are possible")
    })
}

/// A lifecycle queue's kind, likewise.
fn kind() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)).map(|name| {
        let is_named = |kind: &Kind| kind.as_str() == name;
        Kind::ALL
            .into_iter()
            .find(is_named)
            .expect("only kinds' names are possible")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn waves_exclude_one_another() {
        let parse = |more: &[&str]| {
            let base = ["tenantctl", "deploy", "--tier", "basic", "--release", "0.1"];
            Cli::try_parse_from(base.iter().chain(more).copied())
        };
        let wave = |more: &[&str]| match parse(more).expect("fine").command {
            Command::Change(Change::Deploy { wave, .. }) => Wave::from(wave),
            other => panic!("{other:?}"),
        };
        assert_eq!(wave(&[]), Wave::All);
        assert_eq!(wave(&["--rest"]), Wave::Rest);
        assert_eq!(
            wave(&["--percent", "10"]),
            Wave::Percent(10.try_into().expect("a share"))
        );
        let tenants = ["a", "b"].map(|id| id.parse().expect("an id")).to_vec();
        assert_eq!(wave(&["--canary", "a,b"]), Wave::Canary { tenants });
        for wrong in [
            &["--rest", "--percent", "1"][..],
            &["--percent", "0"],
            &["--canary", "a,../b"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
