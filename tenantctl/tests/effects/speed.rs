//! Cost of one onboarding in a repository of 10,000 tenants, over real git. The bound is for a release build:
//! `cargo test --release -p tenantctl -- --ignored --nocapture`, which prints lint's time as well.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tenantctl::apply::{ApplyOptions, ApplyStep, apply};
use tenantctl::git::Repository;
use tenantctl::request::{IdentifiedRequest, Request, RequestId};

use crate::remote::{Remote, TENANTS, blocking, seed};

const MANY: usize = 10_000;
const RUNS: usize = 9;
/// The seed's tenant of each tier is identical to the output of onboarding.
const MODELS: [(&str, &str); 3] = [
    ("basic", "tenant-2"),
    ("advanced", "tenant-3"),
    ("premium", "tenant-1"),
];

#[test]
#[ignore = "measures; needs a release build"]
fn onboarding_into_ten_thousand_tenants_takes_three_hundred_milliseconds_and_a_push() {
    let remote = Remote::empty();
    fill(&remote);
    let repository = remote.open(&remote.address(), "cache");
    let begun = Instant::now();
    repository.lock().unwrap().fetch().unwrap();
    println!("first fetch of {MANY} tenants: {:.0?}", begun.elapsed());

    let mut taken: Vec<_> = (0..RUNS)
        .map(|number| onboard(&repository, number))
        .collect();
    taken.sort_unstable();
    let (before, push) = taken[RUNS / 2];
    let slowest = taken[RUNS - 1].0;
    println!(
        "onboarding one of {MANY}: {before:.0?} (slowest of {RUNS}: {slowest:.0?}), then a push of {push:.0?}"
    );
    assert!(before < Duration::from_millis(300), "{taken:?}");
}

/// Returns the time up to the push, and the time of the push.
fn onboard(repository: &Repository, number: usize) -> (Duration, Duration) {
    let pushing = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&pushing);
    let on_step = Arc::new(move |step| {
        if step == ApplyStep::Pushing {
            *seen.lock().unwrap() = Some(Instant::now());
        }
    });
    let (tier, _) = MODELS[number % MODELS.len()];
    let tenant = format!("new-{number}").parse().unwrap();
    let request = Request::Onboard {
        tenant,
        tier: tier.parse().unwrap(),
        release: "0.0".parse().unwrap(),
        labels: Default::default(),
    };
    // As for a message: the history is searched for its id.
    let identified = IdentifiedRequest {
        request,
        id: RequestId::random(),
        may_be_repeat: true,
        reply_to: None,
    };
    let begun = Instant::now();
    let options = ApplyOptions {
        on_step,
        ..ApplyOptions::default()
    };
    let applied = blocking(apply(repository, identified, &options))
        .unwrap()
        .unwrap();
    let (ended, pushing) = (
        Instant::now(),
        pushing.lock().unwrap().expect("it was pushed"),
    );
    assert_eq!(
        applied.plan.expect("it was planned").edits.len(),
        2,
        "its file and its list"
    );
    (pushing - begun, ended - pushing)
}

/// The seed with many tenants, as one commit.
fn fill(remote: &Remote) {
    let work = remote.scratch().join("work");
    copy(&seed(), &work);
    for (at, (tier, model)) in MODELS.into_iter().enumerate() {
        let folder = work.join(TENANTS).join(tier);
        let text = std::fs::read_to_string(folder.join(format!("{model}.yaml"))).unwrap();
        let list = folder.join("kustomization.yaml");
        let mut lines = std::fs::read_to_string(&list)
            .unwrap()
            .replace(&format!("- {model}.yaml\n"), "");
        for number in (at..MANY).step_by(MODELS.len()) {
            let id = format!("many-{number:05}");
            std::fs::write(folder.join(format!("{id}.yaml")), text.replace(model, &id)).unwrap();
            lines += &format!("- {id}.yaml\n");
        }
        std::fs::write(list, lines + &format!("- {model}.yaml\n")).unwrap();
    }
    let work_tree = format!("--work-tree={}", work.to_str().unwrap());
    remote.git(&[&work_tree, "add", "--all", "."]);
    remote.git(&[&work_tree, "commit", "--quiet", "--message=Many"]);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
