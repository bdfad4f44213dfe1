//! The program: its output, its exit codes, and the secrets that it keeps.

use serde_json::json;

use crate::http::{HttpServer, RedirectTarget};
use crate::program::Program;
use crate::remote::{Remote, TENANTS, executable, git, seed};

#[test]
fn each_step_of_a_tenants_life_is_one_commit_and_lints() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    let tombstone = format!("{TENANTS}/offboarded/acme.yaml");
    let steps: &[(&[&str], i32)] = &[
        (&["onboard", "acme", "--tier=advanced", "--release=0.0"], 0),
        (&["suspend", "acme"], 0),
        (&["resume", "acme"], 0),
        (&["hold", "acme", "--reason=year-end closing"], 0),
        (&["unhold", "acme"], 0),
        (&["move", "acme", "--to=premium"], 0),
        (&["move", "acme", "--to=basic"], 0),
        (&["move", "acme", "--to=advanced", "--leave-data"], 0),
        (&["move", "acme", "--to=basic"], 0),
        (&["offboard", "acme", "--tier=premium"], 3),
        (&["offboard", "acme", "--tier=basic"], 0),
        (&["onboard", "acme", "--tier=advanced", "--release=0.0"], 3),
        (&["forget", "acme"], 3),
        (&["offboard", "acme", "--delete-data"], 0),
        (&["onboard", "acme", "--tier=advanced", "--release=0.0"], 3),
        (&["forget", "acme"], 0),
        (&["onboard", "acme", "--tier=advanced", "--release=0.0"], 0),
        (&["onboard", "1st", "--tier=basic", "--release=0.0"], 2),
        (&["suspend", "unknown"], 4),
    ];
    for (arguments, code) in steps {
        let before = remote.commits();
        let ran = program.run(arguments);
        assert_eq!(ran.code, *code, "{arguments:?}: {ran:?}");
        assert_eq!(
            remote.commits() - before,
            usize::from(*code == 0),
            "{arguments:?}"
        );
        program.done(&["lint"]);
    }
    assert_eq!(remote.read(&tombstone), None);
}

#[test]
fn a_wave_skips_tenants_on_hold_and_reports_them() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    program.done(&["hold", "tenant-2", "--reason=audit"]);
    let (code, answer) = program.json(&["deploy", "--tier=basic", "--release=0.7"]);
    assert_eq!(code, 0);
    let effects = answer["effects"].as_array().unwrap();
    assert!(
        effects
            .iter()
            .any(|effect| effect["effect"] == "skipped" && effect["reason"] == "audit"),
        "{answer}"
    );
    assert!(
        !remote
            .read(&format!("{TENANTS}/basic/tenant-2.yaml"))
            .unwrap()
            .contains("0.7.x")
    );
}

#[test]
fn json_output_is_one_object_in_every_case() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    let onboard = [
        "onboard",
        "tenant-9",
        "--tier=basic",
        "--release=0.0",
        "--request-id=r-1",
    ];
    let (code, answer) = program.json(&onboard);
    assert_eq!(
        (code, &answer["outcome"], &answer["request_id"]),
        (0, &json!("committed"), &json!("r-1"))
    );
    assert_eq!(answer["commit"], json!(remote.head()));
    assert_eq!(answer["files"].as_array().unwrap().len(), 2, "{answer}");
    let (code, answer) = program.json(&onboard);
    assert_eq!(
        (code, &answer["outcome"], &answer["commit"]),
        (0, &json!("repeated"), &json!(remote.head()))
    );
    let (code, answer) = program.json(&["onboard", "tenant-9", "--tier=basic", "--release=0.0"]);
    assert_eq!(
        (code, &answer["outcome"], &answer["commit"]),
        (0, &json!("nothing_to_do"), &json!(null))
    );
    let (code, answer) = program.json(&[
        "onboard",
        "tenant-8",
        "--tier=basic",
        "--release=0.0",
        "--request-id=r-1",
    ]);
    assert_eq!(
        (code, &answer["outcome"], &answer["code"]),
        (3, &json!("failed"), &json!("request_id_taken"))
    );
    let (code, answer) = program.json(&["lint"]);
    assert_eq!(
        (code, answer),
        (0, json!({ "outcome": "clean", "findings": [] }))
    );
    let (code, answer) = program.json(&["list", "--tier=premium"]);
    assert_eq!(code, 0);
    assert_eq!(answer["releases"][0]["tenant"], "tenant-1");
    let gone = Program::at("/nowhere/at/all.git", &remote);
    let (code, answer) = gone.json(&["onboard", "tenant-9", "--tier=basic", "--release=0.0"]);
    assert_eq!((code, &answer["code"]), (6, &json!("no_repository")));
}

#[test]
fn text_output_has_no_progress_line_in_a_pipe() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    let ran = program.onboard("tenant-9", "basic");
    assert_eq!(ran.stderr, "");
    let commit = &remote.head()[..10];
    assert!(
        ran.stdout.contains("tenant-9") && ran.stdout.contains(commit),
        "{}",
        ran.stdout
    );
    let listed = program.done(&["list"]);
    let row: Vec<&str> = listed
        .lines()
        .find(|line| line.starts_with("tenant-9 "))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(row[..4], ["tenant-9", "basic", "0.0.x", "active"]);
    for name in ["tenant-1", "tenant-2", "tenant-3", "pool-1"] {
        assert!(
            listed.lines().any(|line| line.starts_with(name)),
            "{listed}"
        );
    }
}

#[test]
fn findings_have_a_code_a_file_a_line_and_a_fix() {
    let remote = Remote::seeded();
    let listing = format!("{TENANTS}/basic/kustomization.yaml");
    let broken = remote
        .read(&listing)
        .unwrap()
        .replace("- tenant-2.yaml", "- tenant-2.yaml\n  - tenant-2.yaml");
    remote.write(&listing, &broken);
    let program = Program::of(&remote);
    let ran = program.run(&["lint"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(
        ran.stdout.contains(&format!("{listing}:")) && ran.stdout.contains("fix: "),
        "{}",
        ran.stdout
    );
    let (code, answer) = program.json(&["lint"]);
    assert_eq!(
        (code, &answer["outcome"], &answer["findings"][0]["path"]),
        (5, &json!("findings"), &json!(listing))
    );
}

#[test]
fn a_diff_of_a_folder_or_a_repository_is_a_patch_and_changes_nothing() {
    let remote = Remote::seeded();
    let checkout = remote.scratch().join("checkout");
    let cloned = git(
        remote.scratch(),
        &["clone", "--quiet", "gitops.git", "checkout"],
    );
    assert!(cloned.status.success(), "{cloned:?}");
    let head = remote.head();
    let diff = ["diff", "move", "tenant-3", "--to=premium"];
    let patch = Program::of(&remote).done(&diff);
    let folder = Program::at(checkout.to_str().unwrap(), &remote);
    assert_eq!(folder.done(&diff), patch);
    assert_eq!(
        (
            remote.head(),
            git(&checkout, &["status", "--porcelain"]).stdout
        ),
        (head, vec![])
    );
    std::fs::write(checkout.join("patch"), &patch).unwrap();
    let applied = git(&checkout, &["apply", "patch"]);
    assert!(applied.status.success(), "{patch}\n{applied:?}");
    assert!(
        checkout
            .join(TENANTS)
            .join("premium/tenant-3.yaml")
            .is_file()
    );
    folder.done(&["lint"]);
    assert_eq!(folder.run(&["diff", "suspend", "unknown"]).code, 4);
    assert_eq!(
        Program::of(&remote).done(&["diff", "resume", "tenant-1"]),
        "",
        "nothing to do"
    );
}

#[test]
fn a_folder_is_read_and_never_changed() {
    let remote = Remote::seeded();
    let program = Program::at(seed().to_str().unwrap(), &remote);
    program.done(&["lint"]);
    program.done(&["list"]);
    let ran = program.onboard("tenant-9", "basic");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("not a bare repository"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_secret_in_the_url_is_refused_and_never_repeated() {
    let remote = Remote::seeded();
    let url = "https://robot:s3cret@git.example.com/gitops.git";
    for command in [
        &["lint"][..],
        &["onboard", "a", "--tier=basic", "--release=0.0"],
        &["lint", "--output=json"],
    ] {
        let ran = Program::at(url, &remote).run(command);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(
            ran.said().contains("--password-file") && !ran.said().contains("s3cret"),
            "{ran:?}"
        );
    }
    for help in [&["--help"][..], &["onboard", "--help"]] {
        let ran = Program::at(url, &remote).run(help);
        assert!(ran.code == 0 && !ran.said().contains("s3cret"), "{ran:?}");
    }
}

#[test]
fn a_password_follows_no_redirect_and_no_rewrite_to_another_server() {
    let remote = Remote::seeded();
    let target = RedirectTarget::start();
    let password = remote.scratch().join("password");
    std::fs::write(&password, "s3cret-9f\n").unwrap();
    let password = password.to_str().unwrap();
    let redirecting = HttpServer::redirecting(&remote, &target.url());
    let plain = Program::at(&redirecting.url(), &remote);
    let trusted = plain
        .with("GITOPS_USERNAME", "robot")
        .with("GITOPS_PASSWORD_FILE", password);
    let config = remote.scratch().join("home/.gitconfig");
    let url = redirecting.url();
    for setting in [
        String::new(),
        // Settings of the user, or of a mirror that another user wrote.
        "[http]\nfollowRedirects = true\n".to_owned(),
        format!("[http \"{url}\"]\nfollowRedirects = true\n"),
        format!("[http \"{url}\"]\nextraHeader = \"X-Token: s3cret-9f\"\nfollowRedirects = true\n"),
    ] {
        std::fs::write(&config, &setting).unwrap();
        for program in [&plain, &trusted] {
            let ran = program.onboard("tenant-9", "basic");
            assert_eq!(ran.code, 6, "{setting}: {ran:?}");
            assert!(
                ran.stderr.contains("redirects to another address"),
                "{ran:?}"
            );
        }
        assert_eq!(target.heard(), "", "{setting}");
    }
    // A rewrite turns the address into that of `target`: git may send it a request, but never the password.
    let server = HttpServer::with_login(&remote, "robot", "s3cret-9f");
    let trusted = Program::at(&server.url(), &remote)
        .with("GITOPS_USERNAME", "robot")
        .with("GITOPS_PASSWORD_FILE", password);
    for key in ["insteadOf", "pushInsteadOf"] {
        let rewrite = format!("[url \"{}\"]\n{key} = {}\n", target.url(), server.url());
        std::fs::write(&config, rewrite).unwrap();
        let ran = trusted.onboard("tenant-9", "basic");
        assert_eq!(ran.code, 6, "{key}: {ran:?}");
        assert!(
            target.heard().contains("GET /"),
            "{key}: the target was asked"
        );
        assert!(
            !target.heard().to_lowercase().contains("authorization"),
            "{key}"
        );
    }
    std::fs::remove_file(&config).unwrap();
    assert_eq!(
        trusted.onboard("tenant-9", "basic").code,
        0,
        "without all that it works"
    );
}

#[test]
fn a_password_is_not_sent_over_plain_http_to_another_machine_or_a_proxy() {
    let remote = Remote::seeded();
    let password = remote.scratch().join("password");
    std::fs::write(&password, "s3cret-9f\n").unwrap();
    let password = password.to_str().unwrap();
    for host in ["git.example.com", "10.0.0.1:3000", "127.0.0.1.example.com"] {
        let program = Program::at(&format!("http://{host}/gitops.git"), &remote)
            .with("GITOPS_PASSWORD_FILE", password);
        let ran = program.onboard("tenant-9", "basic");
        assert_eq!(ran.code, 2, "{host}: {ran:?}");
        assert!(ran.stderr.contains("plain HTTP"), "{ran:?}");
    }
    let target = RedirectTarget::start();
    let server = HttpServer::with_login(&remote, "robot", "s3cret-9f");
    let ran = Program::at(&server.url(), &remote)
        .with("GITOPS_USERNAME", "robot")
        .with("GITOPS_PASSWORD_FILE", password)
        .with("http_proxy", target.url())
        .onboard("tenant-9", "basic");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(target.heard(), "", "the proxy saw the password");
}

#[test]
fn a_password_reaches_the_remote_and_nothing_else() {
    let remote = Remote::seeded();
    let server = HttpServer::with_login(&remote, "robot", "s3cret-9f");
    let password = remote.scratch().join("password");
    std::fs::write(&password, "s3cret-9f\n").unwrap();
    // A shim logs the arguments and the environment of every call of git.
    let (shims, log) = (
        remote.scratch().join("shims"),
        remote.scratch().join("calls.log"),
    );
    let search = std::env::var("PATH").unwrap();
    let script = format!(
        "{{ echo \"$@\"; env; }} >> {}\nPATH={search} exec git \"$@\"",
        log.display()
    );
    executable(&shims.join("git"), &script);
    let program = Program::at(&server.url(), &remote)
        .with("PATH", format!("{}:{search}", shims.display()))
        .with("GITOPS_USERNAME", "robot")
        // These variables would log secrets.
        .with("GIT_TRACE_CURL", "1")
        .with("GIT_TRACE", "1");
    let trusted = program.with("GITOPS_PASSWORD_FILE", password.to_str().unwrap());
    let ran = trusted.onboard("tenant-9", "basic");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stderr, "");
    let calls = std::fs::read_to_string(&log).unwrap();
    assert!(calls.contains("push"), "the calls were written down");
    assert!(!calls.contains("s3cret-9f") && !ran.said().contains("s3cret-9f"));
    let mirrors = git(
        &remote.scratch().join("home"),
        &["grep", "--no-index", "-l", "s3cret-9f"],
    );
    assert_eq!(String::from_utf8_lossy(&mirrors.stdout), "");

    std::fs::write(&password, "another\n").unwrap();
    let refused = trusted.onboard("tenant-8", "basic");
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(
        refused.stderr.contains("refuses access"),
        "{}",
        refused.stderr
    );
    // Without a password git does not prompt on a terminal.
    assert_eq!(program.onboard("tenant-8", "basic").code, 6);
    // Git uses an askpass of the user.
    let askpass = remote.scratch().join("askpass");
    executable(
        &askpass,
        "case $1 in Username*) echo robot;; *) echo s3cret-9f;; esac",
    );
    assert_eq!(
        program
            .with("GIT_ASKPASS", askpass.to_str().unwrap())
            .onboard("tenant-8", "basic")
            .code,
        0
    );
}

#[test]
fn variables_of_a_surrounding_git_do_not_redirect_a_call() {
    let (remote, other) = (Remote::seeded(), Remote::seeded());
    let head = other.head();
    let program = Program::of(&remote)
        .with("GIT_DIR", other.address())
        .with("GIT_WORK_TREE", other.scratch().to_str().unwrap())
        .with(
            "GIT_INDEX_FILE",
            other.scratch().join("index").to_str().unwrap(),
        )
        .with(
            "GIT_OBJECT_DIRECTORY",
            other.scratch().join("objects").to_str().unwrap(),
        )
        .with("GIT_NAMESPACE", "elsewhere")
        .with("GIT_CONFIG_COUNT", "1")
        .with("GIT_CONFIG_KEY_0", "url./nowhere/.insteadOf")
        .with("GIT_CONFIG_VALUE_0", "/");
    assert_eq!(program.onboard("tenant-9", "basic").code, 0);
    assert_eq!((remote.commits(), other.head()), (2, head));
    assert!(!other.scratch().join("index").exists() && !other.scratch().join("objects").exists());
}

#[test]
fn author_and_branch_are_configurable() {
    let remote = Remote::seeded();
    remote.git(&["branch", "staging", "main"]);
    let program =
        Program::of(&remote).with("GITOPS_AUTHOR", "Platform Team <platform@example.com>");
    program.done(&["--branch=staging", "suspend", "tenant-1"]);
    assert_eq!(
        remote.git(&["log", "-1", "--format=%an <%ae> %cn", "staging"]),
        "Platform Team <platform@example.com> Platform Team"
    );
    assert_eq!(remote.commits(), 1, "main is as it was");
    assert_eq!(
        program.run(&["--branch=none", "suspend", "tenant-1"]).code,
        6
    );
    assert_eq!(
        program.run(&["--branch=../x", "suspend", "tenant-1"]).code,
        2
    );
}

#[test]
fn wrong_arguments_end_with_2_and_help_lists_every_code() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    for wrong in [
        &[][..],
        &["nonsense"],
        &["onboard"],
        &["onboard", "a", "--tier=basic"],
        &["deploy", "--tier=basic", "--release=0.1.2.3"],
    ] {
        assert_eq!(program.run(wrong).code, 2, "{wrong:?}");
    }
    let help = program.done(&["--help"]);
    assert!(
        help.contains("Exit codes:") && help.contains("GITOPS_REPOSITORY"),
        "{help}"
    );
    let unset = program.with("GITOPS_REPOSITORY", "");
    assert_eq!(unset.run(&["lint"]).code, 2);
}

#[test]
fn each_shell_gets_a_completion_that_knows_the_commands() {
    let remote = Remote::seeded();
    // The last two shells complete no values.
    for (shell, has_values) in [
        ("bash", true),
        ("zsh", true),
        ("fish", true),
        ("elvish", false),
        ("powershell", false),
    ] {
        let script = Program::of(&remote).done(&["completion", shell]);
        assert!(
            script.contains("onboard") && (script.contains("premium") || !has_values),
            "{shell}"
        );
        assert!(script.contains("message-base64"), "{shell}");
    }
}
