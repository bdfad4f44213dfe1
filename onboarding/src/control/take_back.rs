//! Takes back what the cluster refuses, by a commit, so that one tenant's file does not hold up the changes of others.
//!
//! Flux builds and applies the objects of all tenants together. It stops at a file that kustomize cannot build, and at the first
//! object that the API server refuses. The refused text stays in the history.

use tenantctl::apply::{Origin, take_back};
use tenantctl::git::on_blocking_thread;

use super::ControlPlane;
use crate::NAME;

impl ControlPlane {
    /// Takes back what the cluster refuses, if a changed file is the reason.
    pub(super) async fn take_back_refused(&self) {
        let Some(refused) = self.0.sources.lock().observed.refused.clone() else {
            return;
        };
        let (repository, asked) = (self.0.repository.clone(), refused.clone());
        let origin = Origin {
            actor: NAME.parse().ok(),
            ..Origin::default()
        };
        let done = on_blocking_thread(move || take_back(&repository, &asked, &origin)).await;
        let (name, reason) = (refused.name(), &refused.reason);
        let kind = refused.object.as_ref().map(|object| &object.kind);
        match done {
            Ok(Some(commit)) => {
                self.0
                    .metrics
                    .counter("taken_back_total", vec![])
                    .increment(1);
                tracing::warn!(
                    kind,
                    name,
                    reason,
                    commit = commit.short(),
                    "refused object taken back"
                );
                self.fetch_now().await;
            }
            // The branch has it no more, and the cluster has not read that yet.
            Ok(None) => {}
            Err(error) => {
                tracing::error!(kind, name, %error, "refused object not taken back, will retry");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::future::BoxFuture;
    use tenantctl::git::{Author, Oid, Pushed, Repository, Settings as GitSettings, seed};
    use tenantctl::status::{Refused, RefusedObject};
    use tenantctl::tree::{Edit, FolderTree, MemoryTree, RepoPath, Tree};
    use tenantry_process::aws::AwsSettings;
    use tenantry_process::health::Readiness;
    use tenantry_process::metrics::Metrics;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::callback::Callbacks;
    use crate::control::{Settings, Timing};
    use crate::platform::{Observed, Platform};

    const FILE: &str = "application-plane/production/tenants/basic/stranger.yaml";
    const TICK: Duration = Duration::from_millis(20);

    /// A cluster that has applied one commit and refuses a stranger's release.
    struct Refusing {
        applied: String,
    }

    impl Platform for Refusing {
        fn name(&self) -> &'static str {
            "test"
        }

        fn observe(&self) -> BoxFuture<'_, Result<Observed, String>> {
            let refused = Refused {
                object: Some(RefusedObject {
                    kind: "HelmRelease".to_owned(),
                    namespace: "flux-tenants".to_owned(),
                    name: "stranger".to_owned(),
                }),
                reason: "set spec.serviceAccountName to tenant-reconciler".to_owned(),
                applied: self.applied.clone(),
            };
            Box::pin(async move {
                Ok(Observed {
                    refused: Some(refused),
                    ..Observed::default()
                })
            })
        }

        fn changed(&self, _within: Duration) -> BoxFuture<'_, ()> {
            Box::pin(tokio::time::sleep(TICK))
        }

        fn load_balancer(&self) -> Option<String> {
            None
        }
    }

    fn repository(scratch: &Path) -> Repository {
        let gitops = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gitops");
        let folder = FolderTree::new(gitops);
        let files = MemoryTree::copy_of(&folder, &RepoPath::root()).expect("the seed can be read");
        let edit = |(path, content): (&RepoPath, &str)| Edit {
            path: path.clone(),
            content: Some(content.to_owned()),
        };
        let files: Vec<Edit> = files.files().map(edit).collect();
        let remote = scratch.join("gitops.git");
        let branch = "main".parse().expect("a branch");
        seed(&remote, &branch, &files, "Seed\n").expect("seeded");
        Repository::open(GitSettings {
            address: remote.to_str().expect("text").parse().expect("a path"),
            branch,
            author: Author::tenantctl(),
            cache: scratch.join("cache"),
            credentials: None,
            timeout: Duration::from_secs(30),
        })
        .expect("opened")
    }

    fn head(repository: &Repository) -> Oid {
        let lock = repository.lock().expect("locked");
        lock.fetch().expect("fetched")
    }

    fn file(repository: &Repository) -> Option<String> {
        let snapshot = repository.snapshot(&head(repository)).expect("a snapshot");
        let path = FILE.parse().expect("a path");
        snapshot.read(&path).expect("readable")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_the_cluster_refuses_is_taken_back_without_a_person() {
        let scratch = tempfile::tempdir().expect("a folder");
        let repository = repository(scratch.path());
        let applied = head(&repository);
        let content = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: stranger\n  \
                       namespace: flux-tenants\n";
        let edit = Edit {
            path: FILE.parse().expect("a path"),
            content: Some(content.to_owned()),
        };
        let mut lock = repository.lock().expect("locked");
        let commit = lock
            .commit(&applied, &[edit], "By hand\n")
            .expect("a commit");
        assert!(matches!(lock.push(&commit, &applied), Ok(Pushed::Accepted)));
        drop(lock);
        let control = ControlPlane::new(Settings {
            repository: repository.clone(),
            platform: Arc::new(Refusing {
                applied: applied.as_str().to_owned(),
            }),
            aws: AwsSettings::for_endpoint("http://127.0.0.1:9", "us-east-1"),
            timing: Timing {
                idle_tick: TICK,
                tick: TICK,
                open_tick: TICK,
                fetch: TICK,
                fail_after: Duration::from_secs(60),
            },
            callbacks: Callbacks::new(None, false),
            metrics: Metrics::new(NAME, "control-plane"),
            take_back: true,
            client: crate::control::client(None).expect("a client"),
        });
        let shutdown = CancellationToken::new();
        let read = Readiness::default().condition("state");
        let running = tokio::spawn(control.run(read, shutdown.clone()));
        let taken_back = async {
            while file(&repository).is_some() {
                tokio::time::sleep(TICK).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), taken_back).await;
        shutdown.cancel();
        running.await.expect("ended");
        assert!(in_time.is_ok(), "the file is still there");
        let entries = repository
            .log(&head(&repository), None, 1)
            .expect("a history");
        assert!(entries[0].message.contains("Actor: onboarding-service"));
    }
}
