//! Lint and edits against real kustomize, over generated trees.
//!
//! Two promises: what lint passes, kustomize builds; and what kustomize builds, lint passes, unless our own rules about tenants,
//! pools and their lists refuse it. After each edit, kustomize builds exactly the tenants that there should be.
//!
//! `KUSTOMIZE_TREES` sets the number of trees, `KUSTOMIZE_NOISE` of cases with noise, `KUSTOMIZE_SEED` the seed: `make kustomize`
//! takes 5,000 trees and 20,000 cases.

mod kubectl;
mod trees;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use fastrand::Rng;
use tenantctl::lint::{Finding, lint};
use tenantctl::plan::{PlanErrorKind, plan};
use tenantctl::request::{Request, Wave};
use tenantctl::tree::{MemoryTree, RepoPath, Tree};
use tenantry_tenancy::tenant::Tier;

use crate::kubectl::{Kustomize, objects};
use crate::trees::{CASES, Case, Generated, PLANE, generate, noisy_case, path};

const TREES: usize = 150;
const NOISY: usize = 150;
const SEED: u64 = 18;
/// Folders in one call of kustomize.
const BATCH: usize = 48;
const EDITS: usize = 3;

/// Cases on which lint and kustomize disagree, each with the reason. Lint passes them and kustomize refuses
/// them.
const DISAGREEMENTS: [(&str, &str); 5] = [
    (
        "k p transformers",
        "lint does not read the configuration of transformers",
    ),
    (
        "k p generators",
        "lint does not read the configuration of generators",
    ),
    ("k p repl", "lint does not follow replacements"),
    ("k p repl nosource", "lint does not follow replacements"),
    (
        "k p vars",
        "lint does not follow variables, which kustomize calls deprecated",
    ),
];

/// What kustomize says of something that lint does not follow, and the reason.
const UNFOLLOWED: [(&str, &str); 1] = [(
    "conflicting fieldspecs",
    "lint does not compare the fields of configurations with each other, nor with those that kustomize has built in",
)];

/// What lint refuses wherever it stands, also where kustomize replaces or drops the value before it reads it.
const STRICTER: [&str; 7] = [
    "a key must be text",
    "the tag does not fit",
    "is in this map twice",
    "write delete, merge or replace",
    "kustomize takes the key << for a merge key",
    "not an OpenAPI document",
    "is not an operation of a JSON patch",
];

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

fn write(tree: &MemoryTree, folder: &Path) {
    for (path, text) in tree.files() {
        let file = folder.join(path.as_str());
        std::fs::create_dir_all(file.parent().expect("below the root")).expect("a folder");
        std::fs::write(file, text).expect("written");
    }
}

fn errors(tree: &MemoryTree) -> Vec<Finding> {
    let mut findings = lint(tree);
    findings.retain(Finding::is_error);
    findings
}

fn errors_in<'f>(findings: &'f [Finding], folder: &RepoPath) -> Vec<&'f Finding> {
    findings
        .iter()
        .filter(|finding| finding.path.is_in(folder))
        .collect()
}

/// Counts of trees, folders and edits, and the disagreements of lint and kustomize.
#[derive(Default)]
struct Figures {
    trees: usize,
    folders: usize,
    refused: usize,
    edits: usize,
    disagreements: Vec<String>,
}

/// Folders to build together, each with the case that it came from, and folders of which kustomize must refuse one.
#[derive(Default)]
struct Folders {
    clean: Vec<(PathBuf, String)>,
    refused: Vec<(Vec<PathBuf>, String)>,
}

impl Folders {
    /// Adds a folder that lint passes, under a wrapper with this number.
    fn pass(&mut self, scratch: &Path, on_disk: &Path, number: usize, case: &str) {
        let wrapper = wrap(scratch, on_disk, number);
        self.clean.push((wrapper, case.to_owned()));
    }

    /// Adds a folder that lint refuses: kustomize must refuse it, or the one with the finding, which need not be listed.
    fn refuse(
        &mut self,
        root: &Path,
        tree: &MemoryTree,
        (folder, case): (&RepoPath, &str),
        finding: &Finding,
    ) {
        let has_list = |folder: &RepoPath| {
            tree.read(&path(&format!("{folder}/kustomization.yaml")))
                .is_ok_and(|text| text.is_some())
        };
        let own = finding.path.parent().filter(has_list);
        let folders = std::iter::once(folder.clone()).chain(own.filter(|own| own != folder));
        let folders = folders.map(|folder| root.join(folder.as_str())).collect();
        self.refused
            .push((folders, format!("{case}: {}", finding.message)));
    }
}

impl Figures {
    fn assert_agreement(&self) {
        assert!(self.disagreements.is_empty(), "{:#?}", self.disagreements);
    }

    fn disagree(&mut self, case: &str, message: String) {
        let name = case.split(", with noise").next().unwrap_or(case);
        let is_listed = DISAGREEMENTS.iter().any(|(listed, _)| *listed == name)
            || UNFOLLOWED.iter().any(|(said, _)| message.contains(said));
        if !is_listed {
            self.disagreements.push(format!("{case}: {message}"));
        }
    }

    /// Builds the folders that lint passed, and those that lint refused; returns the objects of the passed ones.
    fn judge(&mut self, kustomize: &Kustomize, scratch: &Path, folders: Folders) -> String {
        let Folders { clean, refused } = folders;
        self.folders += clean.len() + refused.len();
        self.refused += refused.len();
        let mut printed = String::new();
        for batch in clean.chunks(BATCH) {
            let paths: Vec<PathBuf> = batch.iter().map(|(path, _)| path.clone()).collect();
            let (output, failed) = kustomize.build_all(scratch, &paths);
            printed += &format!("---\n{output}");
            for (path, message) in failed {
                let (_, case) = batch
                    .iter()
                    .find(|(other, _)| *other == path)
                    .expect("of the batch");
                // A wrapper renames objects, and kustomize panics on some names; the folder itself decides.
                if wrapped(&path).is_some_and(|folder| kustomize.build(&folder).is_ok()) {
                    continue;
                }
                self.disagree(
                    case,
                    format!("lint passes {}, kustomize says {message}", path.display()),
                );
            }
        }
        for (paths, case) in refused {
            let builds = |path: &PathBuf| kustomize.build(path).is_ok();
            let is_stricter = STRICTER.iter().any(|reason| case.contains(reason));
            if !is_stricter && paths.iter().all(builds) {
                self.disagree(&case, "lint refuses it, kustomize builds it".to_owned());
            }
        }
        printed
    }
}

/// A folder whose objects get names of their own, so that many such folders can be built together.
fn wrap(scratch: &Path, folder: &Path, number: usize) -> PathBuf {
    let wrapper = scratch.join(format!("wrap-{number}"));
    std::fs::create_dir_all(&wrapper).expect("a folder");
    let below = folder.strip_prefix(scratch).expect("in the scratch folder");
    let text = format!(
        "resources:\n- ../{}\nnameSuffix: -w{number}\n",
        below.display()
    );
    std::fs::write(wrapper.join("kustomization.yaml"), text).expect("written");
    wrapper
}

/// Returns the folder that a wrapper lists; `None` for a folder without a wrapper.
fn wrapped(wrapper: &Path) -> Option<PathBuf> {
    let name = wrapper.file_name()?.to_str()?;
    let text = std::fs::read_to_string(wrapper.join("kustomization.yaml")).ok()?;
    let entry = text.lines().find_map(|line| line.strip_prefix("- "))?;
    name.starts_with("wrap-").then(|| wrapper.join(entry))
}

/// Compares lint and kustomize on each folder of others.
fn compare<'c>(
    figures: &mut Figures,
    kustomize: &Kustomize,
    cases: impl IntoIterator<Item = &'c Case>,
) {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut folders = Folders::default();
    let mut tree = MemoryTree::new();
    let mut names = Vec::new();
    for (number, (case, files)) in cases.into_iter().enumerate() {
        for (file, text) in files {
            let file = path(&format!("infrastructure/{number}/{file}"));
            tree.insert(file, text.clone());
        }
        names.push(case);
    }
    write(&tree, scratch.path());
    let findings = errors(&tree);
    for (number, case) in names.into_iter().enumerate() {
        let folder = path(&format!("infrastructure/{number}"));
        let found = errors_in(&findings, &folder);
        match found.first() {
            Some(first) => folders.refuse(scratch.path(), &tree, (&folder, case), first),
            None => {
                let on_disk = scratch.path().join(folder.as_str());
                folders.pass(scratch.path(), &on_disk, number, case);
            }
        }
    }
    figures.judge(kustomize, scratch.path(), folders);
}

#[test]
fn lint_and_kustomize_agree_on_every_case() {
    let (kustomize, mut figures) = (Kustomize::find(), Figures::default());
    compare(&mut figures, &kustomize, CASES.iter());
    println!(
        "{} cases, {} refused by both",
        figures.folders, figures.refused
    );
    figures.assert_agreement();
}

#[test]
fn lint_and_kustomize_agree_on_cases_with_noise() {
    let (kustomize, mut figures) = (Kustomize::find(), Figures::default());
    let count = usize::try_from(setting("KUSTOMIZE_NOISE", NOISY as u64)).expect("a number");
    let mut random = Rng::with_seed(setting("KUSTOMIZE_SEED", SEED));
    while figures.folders < count {
        let number = BATCH.min(count - figures.folders);
        let cases: Vec<Case> = (0..number).map(|_| noisy_case(&mut random)).collect();
        let known = figures.disagreements.len();
        compare(&mut figures, &kustomize, &cases);
        for disagreement in &figures.disagreements[known..] {
            println!("{disagreement}");
            for (name, files) in &cases {
                if disagreement.starts_with(name.as_str()) {
                    println!("  {files:?}");
                }
            }
        }
    }
    println!(
        "{} cases with noise, {} refused by both, {} disagreements",
        figures.folders,
        figures.refused,
        figures.disagreements.len()
    );
    figures.assert_agreement();
}

/// A tenant as the requests left it.
#[derive(Debug, Clone)]
struct Expected {
    tier: &'static str,
    version: String,
    is_active: bool,
}

/// One state of the trees of a batch: the folders to build, and the tenants that must be in the result.
#[derive(Default)]
struct Step {
    folders: Folders,
    tenants: BTreeMap<String, String>,
}

#[test]
fn lint_and_edits_agree_with_kustomize_over_generated_trees() {
    let begun = Instant::now();
    let count = usize::try_from(setting("KUSTOMIZE_TREES", TREES as u64)).expect("a number");
    let mut random = Rng::with_seed(setting("KUSTOMIZE_SEED", SEED));
    let kustomize = Kustomize::find();
    let mut figures = Figures::default();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while figures.trees < count {
        let scratch = tempfile::tempdir().expect("a folder");
        let mut steps: Vec<Step> = (0..=EDITS).map(|_| Step::default()).collect();
        for _ in 0..BATCH.min(count - figures.trees) {
            let generated = generate(figures.trees, &mut random);
            let is_clean = take(
                &mut figures,
                &mut steps[0],
                &mut seen,
                scratch.path(),
                &generated,
            );
            if is_clean {
                edit(
                    &mut figures,
                    &mut steps,
                    scratch.path(),
                    generated,
                    &mut random,
                );
            } else {
                edit_damaged(&mut figures, &kustomize, scratch.path(), generated);
            }
            figures.trees += 1;
        }
        for Step { folders, tenants } in steps {
            let printed = figures.judge(&kustomize, scratch.path(), folders);
            let releases = objects(&printed)
                .into_iter()
                .filter(|(kind, ..)| kind == "HelmRelease");
            let found: BTreeMap<String, String> = releases
                .map(|(_, name, version)| (name, version.unwrap_or_default()))
                .filter(|(name, _)| !name.starts_with("pool-") && !name.contains("-w"))
                .collect();
            if found != tenants {
                let differs = |name: &&String| found.get(*name) != tenants.get(*name);
                let names: Vec<_> = found.keys().chain(tenants.keys()).filter(differs).collect();
                figures.disagree(
                    "tenants",
                    format!("not those that were asked for: {names:?}"),
                );
            }
        }
    }
    println!(
        "{} trees, {} folders ({} refused by both), {} edits, {:.1} s, {} disagreements",
        figures.trees,
        figures.folders,
        figures.refused,
        figures.edits,
        begun.elapsed().as_secs_f64(),
        figures.disagreements.len()
    );
    figures.assert_agreement();
}

/// Lints a tree, and sorts its folders by lint's result; returns whether lint passes the application plane.
fn take(
    figures: &mut Figures,
    step: &mut Step,
    seen: &mut BTreeSet<String>,
    scratch: &Path,
    generated: &Generated,
) -> bool {
    let number = figures.trees;
    let root = scratch.join(format!("tree-{number}-0"));
    write(&generated.tree, &root);
    let findings = errors(&generated.tree);
    for (index, (folder, case)) in generated.others.iter().enumerate() {
        let found = errors_in(&findings, folder);
        if let Some(first) = found.first() {
            let files = generated
                .tree
                .files()
                .filter(|(path, _)| path.is_in(folder));
            let content: String = files
                .map(|(path, text)| format!("{}\0{text}\0", path.file_name()))
                .collect();
            if seen.insert(content) {
                step.folders
                    .refuse(&root, &generated.tree, (folder, case), first);
            }
        } else {
            let on_disk = root.join(folder.as_str());
            step.folders
                .pass(scratch, &on_disk, number * 10 + index, case);
        }
    }
    let ours = errors_in(&findings, &path("application-plane"));
    let damage = generated.damage.unwrap_or("respelled");
    if ours.is_empty() {
        for part in ["tenants", "pooled-envs"] {
            let case = format!("{part}, {damage}");
            step.folders.clean.push((root.join(PLANE).join(part), case));
        }
        let version = || "0.0.x".to_owned();
        step.tenants
            .extend(tenants(generated).into_keys().map(|name| (name, version())));
    } else if generated.damage.is_none() {
        figures.disagree(damage, format!("lint refuses a spelling: {:?}", ours[0]));
    }
    ours.is_empty()
}

fn tenants(generated: &Generated) -> BTreeMap<String, Expected> {
    let expected = |tier: &'static str| Expected {
        tier,
        version: "0.0.x".to_owned(),
        is_active: true,
    };
    let tenants = generated.tenants.iter();
    tenants
        .map(|(name, tier)| (name.clone(), expected(tier)))
        .collect()
}

/// Makes some requests of a tree that lint passes; each result is clean, and built.
fn edit(
    figures: &mut Figures,
    steps: &mut [Step],
    scratch: &Path,
    generated: Generated,
    random: &mut Rng,
) {
    let number = figures.trees;
    let mut expected = tenants(&generated);
    let mut tree = generated.tree;
    for (index, step) in steps.iter_mut().enumerate().skip(1) {
        let request = request(&expected, number, index, random);
        match plan(&tree, &request) {
            Ok(done) => {
                tree.apply(&done.edits);
                figures.edits += 1;
                apply(&mut expected, &request);
                let again = plan(&tree, &request).expect("a repeated request has a plan");
                if !again.edits.is_empty() {
                    figures.disagree("edits", format!("{request:?} is not done at once"));
                }
            }
            Err(error) if error.kind() == PlanErrorKind::Repository => {
                figures.disagree("edits", format!("{request:?} on a clean tree: {error}"));
            }
            Err(_) => {}
        }
        let findings = errors(&tree);
        if let Some(first) = errors_in(&findings, &path("application-plane")).first() {
            figures.disagree("edits", format!("{request:?} leaves {first:?}"));
        }
        let root = scratch.join(format!("tree-{number}-{index}"));
        let mut ours = MemoryTree::new();
        for (path, text) in tree
            .files()
            .filter(|(file, _)| file.is_in(&path("application-plane")))
        {
            ours.insert(path.clone(), text);
        }
        write(&ours, &root);
        let case = format!("after {request:?}");
        step.folders
            .clean
            .push((root.join(PLANE).join("tenants"), case));
        step.tenants.extend(
            expected
                .iter()
                .map(|(name, it)| (name.clone(), it.version.clone())),
        );
    }
}

/// Onboards into a tree that lint refuses. The plan may be refused; an accepted plan breaks no build.
fn edit_damaged(
    figures: &mut Figures,
    kustomize: &Kustomize,
    scratch: &Path,
    generated: Generated,
) {
    let number = figures.trees;
    let tenants = Path::new(PLANE).join("tenants");
    let damage = generated.damage.unwrap_or("respelled");
    let request = Request::Onboard {
        tenant: format!("new-{number}").parse().expect("an id"),
        tier: Tier::Basic,
        release: "0.0".parse().expect("a release"),
        labels: Default::default(),
    };
    let Ok(done) = plan(&generated.tree, &request) else {
        return;
    };
    if kustomize
        .build(&scratch.join(format!("tree-{number}-0")).join(&tenants))
        .is_err()
    {
        return;
    }
    let mut tree = generated.tree;
    tree.apply(&done.edits);
    figures.edits += 1;
    let root = scratch.join(format!("tree-{number}-1"));
    write(&tree, &root);
    if let Err(message) = kustomize.build(&root.join(&tenants)) {
        figures.disagree(damage, format!("an onboarding breaks the build: {message}"));
    }
}

fn request(
    expected: &BTreeMap<String, Expected>,
    number: usize,
    index: usize,
    random: &mut Rng,
) -> Request {
    let tier = Tier::ALL[random.usize(..3)];
    let names: Vec<&String> = expected.keys().collect();
    let known = names[random.usize(..names.len())].parse().expect("an id");
    match random.u8(..8) {
        0..=2 => Request::Onboard {
            tenant: format!("new{index}-{number}").parse().expect("an id"),
            tier,
            release: format!("0.{index}").parse().expect("a release"),
            labels: Default::default(),
        },
        3 | 4 => Request::Offboard {
            tenant: known,
            tier: None,
            delete_data: random.bool(),
        },
        5 => Request::Move {
            tenant: known,
            to: tier,
            leave_data: true,
        },
        6 => Request::Forget { tenant: known },
        _ => Request::Deploy {
            tier,
            release: format!("0.{index}").parse().expect("a release"),
            wave: Wave::All,
        },
    }
}

/// Applies a request to the expected tenants, without reading files.
fn apply(expected: &mut BTreeMap<String, Expected>, request: &Request) {
    match request {
        Request::Onboard {
            tenant,
            tier,
            release,
            labels: _,
        } => {
            let new = Expected {
                tier: tier.as_str(),
                version: release.chart_version(),
                is_active: true,
            };
            expected.entry(tenant.to_string()).or_insert(new);
        }
        Request::Offboard { tenant, .. } => {
            expected.get_mut(tenant.as_str()).expect("known").is_active = false;
        }
        Request::Forget { tenant } => drop(expected.remove(tenant.as_str())),
        Request::Move { tenant, to, .. } => {
            expected.get_mut(tenant.as_str()).expect("known").tier = to.as_str();
        }
        Request::Deploy { tier, release, .. } => {
            for tenant in expected.values_mut() {
                if tenant.is_active && tenant.tier == tier.as_str() {
                    tenant.version = release.chart_version();
                }
            }
        }
        _ => unreachable!("the test makes no such request"),
    }
}
