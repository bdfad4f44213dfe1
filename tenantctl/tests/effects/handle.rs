//! `handle`, as Argo's container step calls it: a message in an argument, and an exit code that decides about a retry.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http::{HttpServer, Push};
use crate::program::{Program, Ran};
use crate::remote::{Remote, TENANTS};

/// Final codes: Argo's retry strategy does not retry them.
const FINAL: [i32; 4] = [2, 3, 4, 5];

fn handle(program: &Program, kind: &str, body: impl ToString, id: &str) -> Ran {
    encoded(program, kind, &STANDARD.encode(body.to_string()), id)
}

fn encoded(program: &Program, kind: &str, base64: &str, id: &str) -> Ran {
    program.run(&[
        "handle",
        &format!("--kind={kind}"),
        &format!("--message-base64={base64}"),
        &format!("--request-id={id}"),
    ])
}

fn onboarding(tenant: &str, tier: &str) -> Value {
    json!({ "tenant_id": tenant, "tenant_tier": tier, "release_version": "0.0" })
}

#[test]
fn the_contracts_messages_become_commits() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    for (number, (kind, body)) in [
        ("onboarding", onboarding("acme", "advanced")),
        (
            "deployment",
            json!({ "tenant_tier": "advanced", "release_version": "0.7" }),
        ),
        (
            "offboarding",
            json!({ "tenant_id": "acme", "tenant_tier": "advanced" }),
        ),
        (
            "offboarding",
            json!({ "tenant_id": "acme", "delete_data": true }),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("message-{number}");
        let ran = handle(&program, kind, body, &id);
        assert!(
            ran.code == 0 && ran.stderr.is_empty() && ran.stdout.contains(&id),
            "{kind}: {ran:?}"
        );
        assert_eq!(remote.commits(), 2 + number);
        assert!(
            remote
                .git(&["log", "-1", "--format=%B", "main"])
                .ends_with(&format!("Request-Id: {id}"))
        );
        program.done(&["lint"]);
    }
    let stone = remote
        .read(&format!("{TENANTS}/offboarded/acme.yaml"))
        .unwrap();
    assert!(stone.contains("deleteData: true"), "{stone}");
}

#[test]
fn a_message_delivered_twice_is_one_commit() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    for _ in 0..2 {
        assert_eq!(
            handle(&program, "onboarding", onboarding("acme", "basic"), "m-1").code,
            0
        );
    }
    assert_eq!(remote.commits(), 2);
    // After a manual offboarding, the old message is still a repeat.
    program.done(&["offboard", "acme"]);
    let again = handle(&program, "onboarding", onboarding("acme", "basic"), "m-1");
    assert!(
        again.code == 0 && again.stdout.contains("Done before"),
        "{again:?}"
    );
    assert_eq!(remote.commits(), 3);
}

#[test]
fn the_senders_id_identifies_a_repeat() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    let mut message = onboarding("acme", "basic");
    message["request_id"] = json!("order-17");
    for delivery in ["m-1", "m-2"] {
        assert_eq!(handle(&program, "onboarding", &message, delivery).code, 0);
    }
    assert_eq!(remote.commits(), 2);
    assert!(
        remote
            .git(&["log", "-1", "--format=%B", "main"])
            .ends_with("Request-Id: order-17")
    );
    message["tenant_id"] = json!("other");
    let ran = handle(&program, "onboarding", &message, "m-3");
    assert!(ran.code == 3 && ran.stderr.contains("order-17"), "{ran:?}");
}

#[test]
fn a_message_that_can_never_be_applied_ends_with_a_final_code() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    let long = "x".repeat(64 * 1024);
    for (kind, body, code, words) in [
        (
            "onboarding",
            onboarding("../../clusters/production", "basic").to_string(),
            2,
            "tenant_id",
        ),
        (
            "onboarding",
            onboarding("x", "../../../clusters/production").to_string(),
            2,
            "tenant_tier",
        ),
        (
            "onboarding",
            "{{workflow.name}}".to_owned(),
            2,
            "key must be a string",
        ),
        ("onboarding", "--help".to_owned(), 2, "not a JSON object"),
        (
            "onboarding",
            format!("{{\"tenant_id\":\"{long}\"}}"),
            2,
            "65536 bytes",
        ),
        (
            "deployment",
            onboarding("x", "basic").to_string(),
            2,
            "unknown field",
        ),
        (
            "onboarding",
            onboarding("tenant-template", "basic").to_string(),
            2,
            "choose another id",
        ),
        (
            "onboarding",
            onboarding("tenant-1", "basic").to_string(),
            3,
            "premium",
        ),
        (
            "offboarding",
            json!({ "tenant_id": "unknown" }).to_string(),
            4,
            "unknown",
        ),
    ] {
        let ran = handle(&program, kind, &body, "m-1");
        assert_eq!(ran.code, code, "{words}: {ran:?}");
        assert!(
            ran.stderr.contains(words) && ran.stderr.len() < 1000,
            "{words}: {ran:?}"
        );
        assert!(FINAL.contains(&code));
    }
    for (base64, words) in [
        ("", "not a JSON object"),
        ("e30", "base64"),
        ("eyJ0\nIjo", "base64"),
    ] {
        let ran = encoded(&program, "onboarding", base64, "m-1");
        assert!(
            ran.code == 2 && ran.stderr.contains(words),
            "{base64:?}: {ran:?}"
        );
    }
    assert_eq!(encoded(&program, "renaming", "e30=", "m-1").code, 2);
    assert_eq!(encoded(&program, "onboarding", "e30=", "two words").code, 2);
    assert_eq!(remote.commits(), 1);

    let listing = format!("{TENANTS}/basic/kustomization.yaml");
    remote.write(&listing, "resources: [\n");
    let ran = handle(&program, "onboarding", onboarding("acme", "basic"), "m-1");
    assert!(ran.code == 5 && ran.stderr.contains(&listing), "{ran:?}");
}

#[test]
fn a_transient_failure_ends_with_a_retryable_code_and_then_succeeds() {
    let remote = std::sync::Arc::new(Remote::seeded());
    let acme =
        |program: &Program| handle(program, "onboarding", onboarding("acme", "basic"), "m-1").code;
    // Another writer pushes first, each time.
    let server = HttpServer::open(&remote);
    server.next_pushes(Push::rivals(&remote, 2));
    let hurried = Program::at(&server.url(), &remote).with("GITOPS_ATTEMPTS", "2");
    assert_eq!(acme(&hurried), 7);

    let program = Program::of(&remote);
    let closed = Program::at("http://127.0.0.1:1/gitops.git", &remote);
    assert_eq!(acme(&closed), 6, "no server answers");
    remote.hook("pre-receive", "exit 1");
    assert_eq!(acme(&program), 6, "the remote says no");
    std::fs::remove_file(remote.path().join("hooks/pre-receive")).unwrap();
    let file = remote.scratch().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(
        acme(&program.with("GITOPS_CACHE_DIR", file.to_str().unwrap())),
        1,
        "no place for the mirror"
    );

    let before = remote.commits();
    assert_eq!(acme(&program), 0);
    assert_eq!(remote.commits(), before + 1);
}

#[test]
fn json_output_of_handle_is_that_of_any_change() {
    let remote = Remote::seeded();
    let program = Program::of(&remote);
    let message = format!(
        "--message-base64={}",
        STANDARD.encode(onboarding("acme", "basic").to_string())
    );
    let call = ["handle", "--kind=onboarding", &message, "--request-id=m-1"];
    let (code, answer) = program.json(&call);
    assert_eq!(
        (code, &answer["outcome"], &answer["commit"]),
        (0, &json!("committed"), &json!(remote.head()))
    );
    assert_eq!(program.json(&call).1["outcome"], "repeated");
    let (code, answer) = program.json(&["handle", "--kind=offboarding", "--message-base64=e30="]);
    assert_eq!(
        (code, &answer["outcome"], &answer["code"]),
        (2, &json!("failed"), &json!("malformed"))
    );
}
