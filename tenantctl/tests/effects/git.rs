//! The repository over git: reads, commits, pushes, failures.

use std::time::{Duration, Instant};

use tenantctl::apply::{
    Applied, ApplyError, ApplyOptions, ApplyOutcome, RequestError, apply, apply_all,
};
use tenantctl::git::{Author, GitError, Pushed, Repository, Settings, patch};
use tenantctl::request::{IdentifiedRequest, Request, RequestId};
use tenantctl::tree::Edit;
use tenantctl::tree::{
    EntryKind, FolderTree, MAX_FILE_BYTES, MemoryTree, RepoPath, Tree, TreeError,
};

use crate::http::{HttpServer, Push};
use crate::remote::{Remote, TENANTS, blocking, git, seed};

fn open(address: &str, remote: &Remote) -> Repository {
    remote.open(address, "cache")
}

fn path(text: &str) -> RepoPath {
    text.parse().unwrap()
}

fn edit(at: &str, content: Option<&str>) -> Edit {
    Edit {
        path: path(at),
        content: content.map(str::to_owned),
    }
}

fn onboarding(tenant: &str, id: &str) -> IdentifiedRequest {
    let (tenant, tier, release) = (
        tenant.parse().unwrap(),
        "basic".parse().unwrap(),
        "0.0".parse().unwrap(),
    );
    IdentifiedRequest {
        request: Request::Onboard {
            tenant,
            tier,
            release,
            labels: Default::default(),
        },
        id: id.parse().unwrap(),
        may_be_repeat: true,
        reply_to: None,
    }
}

fn apply_to(
    repository: &Repository,
    identified: IdentifiedRequest,
) -> Result<Result<Applied, RequestError>, ApplyError> {
    blocking(apply(repository, identified, &ApplyOptions::default()))
}

#[test]
fn a_snapshot_reads_and_lists_what_a_checkout_has() {
    let remote = Remote::seeded();
    let repository = open(&remote.address(), &remote);
    let snapshot = repository
        .snapshot(&repository.lock().unwrap().fetch().unwrap())
        .unwrap();
    let folder = FolderTree::new(seed());
    let (ours, theirs) = (
        MemoryTree::copy_of(&snapshot, &RepoPath::root()),
        MemoryTree::copy_of(&folder, &RepoPath::root()),
    );
    assert_eq!(ours.unwrap(), theirs.unwrap());
    for absent in [
        "none.yaml",
        "application-plane/none/x.yaml",
        "application-plane",
    ] {
        assert_eq!(snapshot.read(&path(absent)).unwrap(), None, "{absent}");
    }
    assert_eq!(snapshot.list(&path("none")).unwrap(), []);
}

#[test]
fn links_are_not_followed_and_files_that_are_not_text_are_errors() {
    let remote = Remote::seeded();
    let content = remote.scratch().join("raw");
    let add = |mode: &str, bytes: &[u8], at: &str| {
        std::fs::write(&content, bytes).unwrap();
        let blob = remote.git(&["hash-object", "-w", content.to_str().unwrap()]);
        remote.git(&[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("{mode},{blob},{at}"),
        ]);
    };
    remote.git(&["read-tree", "main"]);
    add("120000", b"/etc/passwd", "odd/link.yaml");
    add("120000", b"../application-plane", "odd/folder");
    add("100644", b"\xff\xfe", "odd/bytes.yaml");
    let large = usize::try_from(MAX_FILE_BYTES).unwrap() + 1;
    add("100644", &vec![b'x'; large], "odd/large.yaml");
    let commit = remote.git(&[
        "commit-tree",
        &remote.git(&["write-tree"]),
        "-p",
        "main",
        "-m",
        "Odd",
    ]);
    remote.git(&["update-ref", "refs/heads/main", &commit]);

    let repository = open(&remote.address(), &remote);
    let snapshot = repository
        .snapshot(&repository.lock().unwrap().fetch().unwrap())
        .unwrap();
    for link in [
        "odd/link.yaml",
        "odd/folder/production/pooled-envs/pool-1.yaml",
    ] {
        assert_eq!(snapshot.read(&path(link)).unwrap(), None, "{link}");
    }
    let kinds: Vec<_> = snapshot
        .list(&path("odd"))
        .unwrap()
        .into_iter()
        .map(|entry| entry.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            EntryKind::File,
            EntryKind::Other,
            EntryKind::File,
            EntryKind::Other
        ]
    );
    assert!(matches!(
        snapshot.read(&path("odd/bytes.yaml")),
        Err(TreeError::NotText { .. })
    ));
    assert!(matches!(
        snapshot.read(&path("odd/large.yaml")),
        Err(TreeError::TooLarge { .. })
    ));
    // The cat-file process still works.
    assert!(
        snapshot
            .read(&path(&format!("{TENANTS}/kustomization.yaml")))
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_commit_changes_its_edits_and_nothing_else() {
    let remote = Remote::seeded();
    let repository = open(&remote.address(), &remote);
    let gone = format!("{TENANTS}/basic/tenant-2.yaml");
    {
        let mut turn = repository.lock().unwrap();
        let head = turn.fetch().unwrap();
        let odd = "new/with \"quotes\" and ümlauts.yaml";
        let edits = [edit(odd, Some("a\nD b\n")), edit(&gone, None)];
        let commit = turn.commit(&head, &edits, "Subject\n\nBody\n").unwrap();
        assert_eq!(remote.commits(), 1, "a commit is no push");
        assert_eq!(turn.push(&commit, &head).unwrap(), Pushed::Accepted);
        assert_eq!(remote.read(odd).as_deref(), Some("a\nD b\n"));
    }
    let changed = remote.git(&[
        "-c",
        "core.quotePath=false",
        "diff-tree",
        "-r",
        "--name-status",
        "main~1",
        "main",
    ]);
    assert_eq!(changed.lines().count(), 2, "{changed}");
    assert!(changed.contains(&format!("D\t{gone}")), "{changed}");
    assert_eq!(
        remote.git(&["log", "-1", "--format=%an <%ae>|%B", "main"]),
        "tenantctl <tenantctl@localhost>|Subject\n\nBody"
    );
    remote.git(&["fsck", "--strict"]);
    let references = git(
        repository.folder(),
        &["for-each-ref", "--format=%(refname)"],
    );
    assert_eq!(
        String::from_utf8(references.stdout).unwrap(),
        "refs/tracking/main\n"
    );
}

#[test]
fn a_push_is_rejected_if_the_branch_moved_or_was_deleted() {
    let remote = Remote::seeded();
    let repository = open(&remote.address(), &remote);
    let mut turn = repository.lock().unwrap();
    let head = turn.fetch().unwrap();
    let commit = turn
        .commit(&head, &[edit("a", Some("ours"))], "Ours")
        .unwrap();
    remote.write("a", "theirs");
    assert_eq!(turn.push(&commit, &head).unwrap(), Pushed::Rejected);
    assert_eq!(remote.read("a").as_deref(), Some("theirs"));
    remote.git(&["update-ref", "-d", "refs/heads/main"]);
    assert_eq!(turn.push(&commit, &head).unwrap(), Pushed::Rejected);
    assert_eq!(
        remote.git(&["for-each-ref"]),
        "",
        "a deleted branch is not recreated"
    );
}

#[test]
fn no_hook_or_setting_of_the_mirror_runs_a_program() {
    let remote = Remote::seeded();
    let repository = open(&remote.address(), &remote);
    let marker = remote.scratch().join("ran");
    let script = format!("touch {}", marker.display());
    let hooks = repository.folder().join("hooks");
    for hook in [
        "pre-push",
        "post-commit",
        "reference-transaction",
        "post-checkout",
        "pre-auto-gc",
    ] {
        crate::remote::executable(&hooks.join(hook), &script);
    }
    crate::remote::executable(&remote.scratch().join("monitor"), &script);
    let monitor = remote.scratch().join("monitor");
    git(
        repository.folder(),
        &["config", "core.fsmonitor", monitor.to_str().unwrap()],
    );
    let applied = apply_to(&repository, onboarding("tenant-9", "r-1"));
    assert!(matches!(
        applied.unwrap().unwrap().outcome,
        ApplyOutcome::Committed(_)
    ));
    assert!(!marker.exists());
}

#[test]
fn failures_of_the_remote_are_classified() {
    let code = |address: &str, remote: &Remote| {
        open(address, remote)
            .lock()
            .unwrap()
            .fetch()
            .expect_err(address)
            .code()
    };
    let (remote, empty) = (Remote::seeded(), Remote::empty());
    let server = HttpServer::with_login(&remote, "robot", "s3cret");
    assert_eq!(code(&server.url(), &remote), "unauthorized");
    assert_eq!(code(&empty.address(), &empty), "no_branch");
    let nowhere = remote.scratch().join("none.git");
    assert_eq!(code(nowhere.to_str().unwrap(), &remote), "no_repository");
    let open_server = HttpServer::open(&remote);
    assert_eq!(
        code(
            &open_server.url().replace("gitops.git", "none.git"),
            &remote
        ),
        "no_repository"
    );
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(
        code(&format!("http://{free}/gitops.git"), &remote),
        "unreachable"
    );
}

#[test]
fn a_remote_that_never_answers_times_out() {
    let remote = Remote::seeded();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let repository = Repository::open(Settings {
        address: format!("http://{}/gitops.git", silent.local_addr().unwrap())
            .parse()
            .unwrap(),
        branch: "main".parse().unwrap(),
        author: Author::tenantctl(),
        cache: remote.scratch().join("cache"),
        credentials: None,
        timeout: Duration::from_millis(300),
    });
    let begun = Instant::now();
    // The time-out applies to every call, also to the first, which creates the mirror.
    let error = repository
        .and_then(|repository| repository.lock()?.fetch())
        .expect_err("no server answers");
    assert!(matches!(error, GitError::TimedOut { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn the_message_of_a_declining_hook_is_quoted() {
    let remote = Remote::seeded();
    remote.hook("pre-receive", "echo 'signed commits only' >&2; exit 1");
    let repository = open(&remote.address(), &remote);
    let error = apply_to(&repository, onboarding("tenant-9", "r-1"));
    let error = error.expect_err("it is declined");
    assert!(
        matches!(error, ApplyError::Git(GitError::Declined { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("signed commits only"), "{error}");
    assert_eq!(remote.commits(), 1);
}

#[test]
fn a_rejected_push_is_planned_again_on_the_new_head() {
    let remote = std::sync::Arc::new(Remote::seeded());
    let server = HttpServer::open(&remote);
    let other = std::sync::Arc::clone(&remote);
    // Between our fetch and our push another writer onboards a tenant: the same line of the same file.
    let meanwhile = move || {
        let repository = open(&other.address(), &other);
        apply_to(&repository, onboarding("tenant-8", "r-8"))
            .unwrap()
            .unwrap();
    };
    server.next_pushes(vec![Push::After(Box::new(meanwhile))]);
    let repository = open(&server.url(), &remote);
    let applied = apply_to(&repository, onboarding("tenant-9", "r-9"))
        .unwrap()
        .unwrap();
    assert!(server.is_done() && applied.attempts == 2, "{applied:?}");
    let listed = remote
        .read(&format!("{TENANTS}/basic/kustomization.yaml"))
        .unwrap();
    assert!(
        listed.contains("- tenant-8.yaml\n") && listed.contains("- tenant-9.yaml\n"),
        "{listed}"
    );
}

#[test]
fn replanning_is_bounded() {
    let remote = std::sync::Arc::new(Remote::seeded());
    let server = HttpServer::open(&remote);
    server.next_pushes(Push::rivals(&remote, 3));
    let repository = open(&server.url(), &remote);
    let options = ApplyOptions {
        max_attempts: 3,
        ..ApplyOptions::default()
    };
    let error = blocking(apply(&repository, onboarding("tenant-9", "r-9"), &options))
        .expect_err("it gives up");
    assert!(
        matches!(error, ApplyError::Contended { attempts: 3 }),
        "{error}"
    );
    assert!(
        server.is_done()
            && remote
                .read(&format!("{TENANTS}/basic/tenant-9.yaml"))
                .is_none()
    );
}

#[test]
fn a_push_with_a_lost_answer_is_found_and_a_lost_push_is_repeated() {
    for push in [Push::AnswerLost, Push::Lost] {
        let remote = Remote::seeded();
        let server = HttpServer::open(&remote);
        server.next_pushes(vec![push]);
        let repository = open(&server.url(), &remote);
        // Also for a new id, which is otherwise not searched.
        let identified = IdentifiedRequest {
            id: RequestId::random(),
            may_be_repeat: false,
            ..onboarding("tenant-9", "r-9")
        };
        let applied = apply_to(&repository, identified).unwrap().unwrap();
        let ApplyOutcome::Committed(commit) = &applied.outcome else {
            panic!("{applied:?}")
        };
        assert_eq!(commit.as_str(), remote.head());
        assert!(applied.plan.is_some_and(|plan| plan.edits.len() == 2));
        assert_eq!(remote.commits(), 2, "once");
    }
}

#[test]
fn an_unanswered_push_is_an_error_with_the_request_id() {
    let remote = Remote::seeded();
    let server = HttpServer::open(&remote);
    server.next_pushes((0..6).map(|_| Push::Lost).collect());
    let repository = open(&server.url(), &remote);
    let error = apply_to(&repository, onboarding("tenant-9", "r-9"));
    let error = error.expect_err("no server answers");
    assert!(
        matches!(error, ApplyError::PushUnanswered { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("--request-id r-9"), "{error}");
}

#[test]
fn a_request_is_applied_once_and_its_id_is_taken() {
    let remote = Remote::seeded();
    let repository = open(&remote.address(), &remote);
    let go = |identified| apply_to(&repository, identified).unwrap();
    let ApplyOutcome::Committed(first) = go(onboarding("tenant-9", "r-1")).unwrap().outcome else {
        panic!("it is new")
    };
    let offboarding = Request::Offboard {
        tenant: "tenant-9".parse().unwrap(),
        tier: None,
        delete_data: false,
    };
    go(IdentifiedRequest {
        request: offboarding,
        ..onboarding("tenant-9", "r-2")
    })
    .unwrap();
    let head = remote.head();
    // As a new request it would be a conflict. It was applied before, so the repeat succeeds.
    assert_eq!(
        go(onboarding("tenant-9", "r-1")).unwrap().outcome,
        ApplyOutcome::Repeated(first)
    );
    let refused = go(onboarding("tenant-7", "r-1")).expect_err("the id is another's");
    assert!(matches!(refused, RequestError::IdTaken { .. }), "{refused}");
    assert!(refused.to_string().contains("tenant-9"), "{refused}");
    assert_eq!(remote.head(), head);
}

#[test]
fn requests_of_one_batch_are_one_commit_each_and_one_push() {
    let remote = Remote::seeded();
    let pushes = remote.scratch().join("pushes");
    remote.hook("post-receive", &format!("echo >> {}", pushes.display()));
    let repository = open(&remote.address(), &remote);
    let identified = vec![
        onboarding("tenant-7", "r-7"),
        onboarding("tenant-8", "r-8"),
        onboarding("tenant-7", "r-7"),
        onboarding("tenant-1", "r-9"),
    ];
    let results = blocking(apply_all(&repository, identified, &ApplyOptions::default())).unwrap();
    let outcome = |at: usize| results[at].as_ref().map(|applied| &applied.outcome);
    assert!(
        matches!(outcome(0), Ok(ApplyOutcome::Committed(_)))
            && matches!(outcome(1), Ok(ApplyOutcome::Committed(_)))
    );
    assert!(
        matches!(outcome(2), Ok(ApplyOutcome::Repeated(_))),
        "the second delivery of one message"
    );
    assert_eq!(
        outcome(3).expect_err("tenant-1 is premium").code(),
        "other_tier"
    );
    assert_eq!(remote.commits(), 3);
    assert_eq!(std::fs::read_to_string(pushes).unwrap().lines().count(), 1);
}

#[test]
fn git_apply_accepts_a_patch() {
    let mut tree = MemoryTree::new();
    for (at, text) in [
        ("a/changed.yaml", "one\ntwo\n"),
        ("a/gone.yaml", "gone\n"),
        ("same", "same\n"),
    ] {
        tree.insert(path(at), text);
    }
    let edits = [
        edit("a/changed.yaml", Some("one\n2\n")),
        edit("a/gone.yaml", None),
        edit("b/new.yaml", Some("no newline")),
    ];
    let scratch = tempfile::tempdir().unwrap();
    let patch = patch(&tree, &edits, scratch.path()).unwrap();
    let checkout = tempfile::tempdir().unwrap();
    std::fs::create_dir(checkout.path().join("a")).unwrap();
    for (at, text) in tree.files() {
        std::fs::write(checkout.path().join(at.as_str()), text).unwrap();
    }
    std::fs::write(checkout.path().join("patch"), &patch).unwrap();
    let applied = git(checkout.path(), &["apply", "patch"]);
    assert!(applied.status.success(), "{patch}\n{applied:?}");
    let read = |at: &str| std::fs::read_to_string(checkout.path().join(at)).ok();
    assert_eq!(read("a/changed.yaml").as_deref(), Some("one\n2\n"));
    assert_eq!(
        (read("a/gone.yaml"), read("b/new.yaml").as_deref()),
        (None, Some("no newline"))
    );
}
