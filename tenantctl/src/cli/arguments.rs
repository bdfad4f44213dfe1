//! The arguments of the command line, each parsed as it is read.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tenantry_process::config::seconds;
use tenantry_tenancy::tenant::{TenantId, Tier};

use super::exit::EXIT_CODES;
use super::status::StatusArguments;
use crate::apply::MAX_ATTEMPTS;
use crate::git::{Author, Branch};
use crate::message::MessageKind;
use crate::request::{HoldReason, Labels, Percent, ReleaseVersion, Request, RequestId, Wave};
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

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// The GitOps repository: a URL without user or password, or a path; for list, lint and diff also a folder
    // Parsed later: clap repeats an invalid value, which may hold a password.
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

    /// Author of the commits
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

    /// A file whose first line is the password or token, for the repository's host alone, by https or on this machine; without it git
    /// uses its credential helper or SSH agent
    #[arg(long, global = true, env = "GITOPS_PASSWORD_FILE", value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,

    /// Folder for mirrors of repositories [default: tenantctl in the user's cache folder]
    #[arg(long, global = true, env = "GITOPS_CACHE_DIR", value_name = "FOLDER")]
    pub(super) cache_dir: Option<PathBuf>,

    /// Time limit of one call of git, in seconds
    #[arg(long, global = true, env = "GITOPS_TIMEOUT_SECONDS", value_name = "SECONDS", default_value = "300", value_parser = seconds(1, 3600))]
    pub(super) git_timeout_seconds: Duration,

    /// Limit of pushes while other writers move the branch
    #[arg(long, global = true, env = "GITOPS_ATTEMPTS", value_name = "NUMBER", default_value_t = MAX_ATTEMPTS, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) attempts: u32,

    /// Form of the output
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t = Output::Text)]
    pub(super) output: Output,

    /// The id of the change: repeated under the same id, the change is made once [default: a new id]
    #[arg(long, global = true, value_name = "ID")]
    pub(super) request_id: Option<RequestId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Change(Change),

    /// Show a change as a patch for git apply; nothing is changed
    Diff {
        #[command(subcommand)]
        change: Change,
    },

    /// Move the data of a tenant whose move the cluster has applied; payments can be written again afterwards
    ///
    /// It forwards the messages left in a former silo's queue and moves stored events and payments to the registered tables.
    /// It needs the SDK's variables (`AWS_REGION`, credentials), may be repeated, and finds nothing the second time. `local`
    /// does this itself.
    Settle {
        /// The tenant's id
        tenant: TenantId,
        /// REGISTRY_REFRESH_SECONDS of the services, with a margin
        #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds(1, 86_400))]
        registry_refresh_seconds: Duration,
        /// Pause between the two counts that show a queue to be empty; Amazon SQS needs a minute
        #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds(1, 3600))]
        count_seconds: Duration,
        /// Time after which the former home is emptied once more, for processes that could not read Parameter Store
        #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds(1, 86_400))]
        late_seconds: Duration,
    },

    /// List the tenants and pools
    List {
        /// Only this tier
        #[arg(long, value_name = "TIER", value_parser = tier())]
        tier: Option<Tier>,
    },

    /// Show what is desired, applied and serving, and what blocks with the command that mends it
    Status(StatusArguments),

    /// Check the repository: every file, every reference, every value
    Lint,

    /// Apply one lifecycle message and end, as a step of a workflow
    ///
    /// The message has the format of the lifecycle queues, and is applied as the worker does. Its own request_id takes
    /// precedence over --request-id, the message's id in its queue. A message delivered twice is applied once. Exit codes 2
    /// to 5 are final; after 1, 6 and 7 a retry may succeed.
    Handle {
        /// The queue of the message
        #[arg(long, value_name = "KIND", value_parser = kind())]
        kind: MessageKind,
        /// The message's body in base64: with padding, in one line, at most 64 KiB
        // Decoded later: clap repeats an invalid value of any length.
        #[arg(long, value_name = "BASE64")]
        message_base64: String,
    },

    /// Apply the messages of the lifecycle queues until SIGTERM or SIGINT
    Worker(WorkerConfig),

    /// Print a completion script
    Completion {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Change {
    /// Add a tenant
    Onboard {
        /// The tenant's id: 1 to 32 of a-z, 0-9 and -
        tenant: TenantId,
        /// The tier that the tenant has bought
        #[arg(long, value_name = "TIER", value_parser = tier())]
        tier: Tier,
        /// The first release: 0.1 for every patch, or 0.1.3
        #[arg(long, value_name = "RELEASE")]
        release: ReleaseVersion,
    },

    /// Remove a tenant's apps; its data stays protected, and its id stays taken
    Offboard {
        /// The tenant's id
        tenant: TenantId,
        /// The expected tier; another tier is a conflict
        #[arg(long, value_name = "TIER", value_parser = tier())]
        tier: Option<Tier>,
        /// Lift the protection of its data, so that forget deletes it; also for a tenant offboarded earlier
        #[arg(long)]
        delete_data: bool,
    },

    /// Delete an offboarded tenant: its data is deleted, its id is free
    ///
    /// The last step, after offboard --delete-data has reached the cluster. Flux deletes the Terraform object with the tombstone,
    /// and that destroys the tenant's queue and tables. Its items in the tables of the pools stay without --purge; a new owner of
    /// the id never meets them.
    Forget {
        /// The tenant's id
        tenant: TenantId,
        /// First delete its items from the tables of the pools, and prove them gone; needs rights in AWS
        #[arg(long)]
        purge: bool,
    },

    /// Deploy a release to a tier, or a wave of it; tenants on hold keep theirs
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
    /// The tenant's data follows: stored events, messages in queues, payments with their idempotency keys. On a cluster,
    /// `tenantctl settle` moves it once the commit is applied. While payments move, requests that write them get 503 with
    /// Retry-After; everything else goes on.
    Move {
        /// The tenant's id
        tenant: TenantId,
        /// The new tier
        #[arg(long, value_name = "TIER", value_parser = tier())]
        to: Tier,
        /// Leave stored events and payments in the former tables; messages in queues move all the same
        #[arg(long)]
        leave_data: bool,
    },

    /// Remove a tenant's routes; everything else keeps running
    Suspend {
        /// The tenant's id
        tenant: TenantId,
    },

    /// Restore a suspended tenant's routes
    Resume {
        /// The tenant's id
        tenant: TenantId,
    },

    /// Make waves skip a tenant
    Hold {
        /// The tenant's id
        tenant: TenantId,
        /// The reason, for other operators
        #[arg(long, value_name = "TEXT")]
        reason: HoldReason,
    },

    /// Let waves deploy to a tenant again
    Unhold {
        /// The tenant's id
        tenant: TenantId,
    },
}

/// The tenants of a wave; all of the tier by default.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct WaveArguments {
    /// Only these tenants, separated by commas
    #[arg(long, value_name = "TENANT", value_delimiter = ',')]
    canary: Vec<TenantId>,
    /// About this share of the tier: the same tenants each time; a larger share adds tenants
    #[arg(long, value_name = "PERCENT")]
    percent: Option<Percent>,
    /// Only the tenants that do not have the release yet
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
                labels: Labels::default(),
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
            Change::Forget { tenant, purge: _ } => Self::Forget { tenant },
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

/// Parses a tier; help and completion list all tiers.
fn tier() -> impl TypedValueParser<Value = Tier> {
    PossibleValuesParser::new(Tier::ALL.map(Tier::as_str)).map(|name| {
        name.parse::<Tier>()
            .expect("only tiers' names are possible")
    })
}

/// Parses the kind of a message; help and completion list all kinds.
fn kind() -> impl TypedValueParser<Value = MessageKind> {
    PossibleValuesParser::new(MessageKind::ALL.map(MessageKind::as_str)).map(|name| {
        let is_named = |kind: &MessageKind| kind.as_str() == name;
        MessageKind::ALL
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
    fn the_clap_definition_is_valid() {
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
