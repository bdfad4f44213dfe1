//! Generated repositories: the seed's tenants in every spelling of a list, and folders of others' files beside them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fastrand::Rng;
use serde_json::Value;
use tenantctl::tree::{FolderTree, MemoryTree, RepoPath, Tree};

/// Folders that one tree has beside the application plane.
const OTHERS: usize = 3;
/// Characters that a broken file may have anywhere.
const NOISE: [&str; 69] = [
    "[",
    "]",
    "{",
    "}",
    ":",
    ": ",
    ",",
    ", ",
    "&a",
    "&a ",
    "*a",
    "*a ",
    "!",
    "! ",
    "!a ",
    "!a,",
    "!!str ",
    "!!str",
    "!!int ",
    "!<tag:x> ",
    "!<tag:x>,",
    "!e!x ",
    "!a%20 ",
    "|",
    "|2\n",
    "|-1\n",
    "|+\n    x",
    ">",
    ">-\n",
    "'",
    "\"",
    "%",
    "@",
    "`",
    "#",
    " #",
    "\t#",
    "- ",
    "-\t",
    "? ",
    "?",
    "\t",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "---\n",
    "\n---\n",
    "--- ",
    "...\n",
    "\n...\n",
    "%YAML 1.1\n",
    "\n%TAG ! x\n",
    "<<: ",
    "  ",
    "~",
    "\\",
    "\\'",
    "\\/",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    "\u{7}",
    "é",
    ": x\n",
    "\n? x\n: y\n",
    "{}",
    "=",
];
pub(crate) const TIERS: [&str; 3] = ["advanced", "basic", "premium"];
pub(crate) const PLANE: &str = "application-plane/production";
pub(crate) const REST: &str = "infrastructure/rest";

/// A name, and the files of a folder that others wrote, each with its path and its text.
pub(crate) type Case = (String, Vec<(String, String)>);

pub(crate) static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let cases: Value = serde_json::from_str(include_str!("cases.json")).expect("JSON");
    let cases = cases.as_object().expect("a map of cases");
    let files = |files: &Value| {
        let files = files.as_object().expect("a map of files");
        let text = |text: &Value| text.as_str().expect("text").to_owned();
        files
            .iter()
            .map(|(name, content)| (name.clone(), text(content)))
            .collect()
    };
    cases
        .iter()
        .map(|(name, case)| (name.clone(), files(case)))
        .collect()
});

/// The files of the application plane, and those that it refers to.
static SEED: LazyLock<MemoryTree> = LazyLock::new(|| {
    let folder = FolderTree::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../gitops"));
    let all = MemoryTree::copy_of(&folder, &RepoPath::root()).expect("the seed can be read");
    let kept = [
        "application-plane/",
        "infrastructure/base/sources/",
        "infrastructure/base/tenancy/",
        "clusters/production/tenancy/cluster-values.yaml",
    ];
    let mut tree = MemoryTree::new();
    for (path, text) in all.files() {
        if kept.iter().any(|kept| path.as_str().starts_with(kept)) {
            tree.insert(path.clone(), text);
        }
    }
    tree
});

/// A generated repository, and its expected content.
pub(crate) struct Generated {
    pub(crate) tree: MemoryTree,
    /// Tier of each tenant.
    pub(crate) tenants: BTreeMap<String, &'static str>,
    pub(crate) pool: String,
    /// The folders of others, each with the case it was made from.
    pub(crate) others: BTreeMap<RepoPath, String>,
    /// The damage to the lists of the application plane that our own rules may refuse.
    pub(crate) damage: Option<&'static str>,
}

pub(crate) fn path(text: &str) -> RepoPath {
    text.parse().expect(text)
}

/// Makes a tree whose objects have names of their own, so that many trees can be built in one call.
pub(crate) fn generate(number: usize, random: &mut Rng) -> Generated {
    let names = [
        ("tenant-1", format!("one-{number}")),
        ("tenant-2", format!("two-{number}")),
        ("tenant-3", format!("three-{number}")),
        ("pool-1", format!("pool-{}", number + 2)),
    ];
    let mut tree = MemoryTree::new();
    for (file, text) in SEED.files() {
        let mut renamed = (file.as_str().to_owned(), text.to_owned());
        for (from, to) in &names {
            renamed = (renamed.0.replace(from, to), renamed.1.replace(from, to));
        }
        tree.insert(path(&renamed.0), renamed.1);
    }
    let tiers = ["premium", "basic", "advanced"];
    let tenants = names
        .iter()
        .zip(tiers)
        .map(|((_, name), tier)| (name.clone(), tier));
    let mut generated = Generated {
        tenants: tenants.collect(),
        tree,
        pool: names[3].1.clone(),
        others: BTreeMap::new(),
        damage: None,
    };
    respell(&mut generated, random);
    if random.u8(..4) == 0 {
        damage(&mut generated, random);
    }
    for index in 0..OTHERS {
        add_other(&mut generated, index, random);
    }
    generated
}

/// The lists of ours, with their entries.
fn lists(generated: &Generated) -> Vec<(RepoPath, Vec<String>)> {
    let file = |tier: &str| {
        let of_tier = generated.tenants.iter().filter(|(_, of)| **of == tier);
        of_tier.map(|(name, _)| format!("{name}.yaml")).collect()
    };
    let mut lists = vec![
        (
            path(&format!("{PLANE}/tenants")),
            ["advanced", "basic", "offboarded", "premium"]
                .map(str::to_owned)
                .to_vec(),
        ),
        (
            path(&format!("{PLANE}/pooled-envs")),
            vec![format!("{}.yaml", generated.pool)],
        ),
    ];
    lists.extend(TIERS.map(|tier| (path(&format!("{PLANE}/tenants/{tier}")), file(tier))));
    lists
}

/// Returns an entry in another spelling of the same path.
fn spelling(entry: &str, folder: &RepoPath, random: &mut Rng) -> String {
    let own = folder.file_name();
    let path = match random.u8(..9) {
        0 => format!("./{entry}"),
        1 => format!("{entry}/"),
        2 => format!("x/../{entry}"),
        3 => format!(".//{entry}"),
        4 => format!("../{own}/{entry}"),
        5 => format!("././{entry}//"),
        _ => entry.to_owned(),
    };
    match random.u8(..5) {
        0 => format!("\"{path}\""),
        1 => format!("'{path}'"),
        _ => path,
    }
}

/// Writes each list of ours anew, in a notation of many.
fn respell(generated: &mut Generated, random: &mut Rng) {
    for (folder, entries) in lists(generated) {
        if random.u8(..3) == 0 {
            continue;
        }
        let entries: Vec<String> = entries
            .iter()
            .map(|entry| spelling(entry, &folder, random))
            .collect();
        let key = if random.u8(..8) == 0 {
            "bases"
        } else {
            "resources"
        };
        let list = match random.u8(..4) {
            0 => format!("{key}: [{}]\n", entries.join(", ")),
            1 => format!("{key}: [\n  {},\n  ]\n", entries.join(",\n  ")),
            2 => format!(
                "{key}:\n{}",
                entries
                    .iter()
                    .map(|entry| format!("  # about {entry}\n  - {entry} # here\n"))
                    .collect::<String>()
            ),
            _ => format!(
                "{key}:\n{}",
                entries
                    .iter()
                    .map(|entry| format!("- {entry}\n"))
                    .collect::<String>()
            ),
        };
        let api = "apiVersion: kustomize.config.k8s.io/v1beta1\n";
        let kind = "kind: Kustomization\n";
        let extra = [
            "",
            "",
            "",
            "metadata:\n  name: ours\n",
            "labels:\n- pairs:\n    team: red\n",
            "commonAnnotations: {owner: \"1\"}\n",
            "buildMetadata: []\n",
            "# the end\n",
        ][random.usize(..8)];
        let text = match random.u8(..4) {
            0 => format!("---\n{api}{kind}{list}{extra}"),
            1 => format!("# ours\n{list}{kind}{api}{extra}"),
            2 => format!("{api}{kind}{extra}{list}"),
            _ => format!("{api}{kind}{list}{extra}"),
        };
        let text = if random.u8(..6) == 0 {
            text.trim_end().to_owned()
        } else {
            text
        };
        generated
            .tree
            .insert(path(&format!("{folder}/kustomization.yaml")), text);
    }
}

/// Damages a file of ours in a way that lint may refuse even where kustomize builds.
fn damage(generated: &mut Generated, random: &mut Rng) {
    let lists = lists(generated);
    let (folder, entries) = &lists[random.usize(..lists.len())];
    let list = path(&format!("{folder}/kustomization.yaml"));
    let text = generated
        .tree
        .read(&list)
        .expect("readable")
        .expect("there");
    let entry = entries[random.usize(..entries.len())].clone();
    let tenant = path(&format!(
        "{PLANE}/tenants/basic/two-{}.yaml",
        number_of(generated)
    ));
    let file = generated
        .tree
        .read(&tenant)
        .expect("readable")
        .expect("there");
    let again = |entry: &str| format!("{text}\nresources: [{entry}, ./{entry}]\n");
    let block = |entry: &str| {
        format!(
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- ./{entry}\n- {entry}\n"
        )
    };
    let (name, at, with): (&'static str, &RepoPath, String) = match random.u8(..19) {
        0 => ("a list twice", &list, again(&entry)),
        1 => ("an entry twice", &list, block(&entry)),
        2 => (
            "a dangling entry",
            &list,
            format!("{text}\n# x\n").replace("resources:", "bases: [./none.yaml]\nresources:"),
        ),
        3 => ("%YAML", &list, format!("%YAML 1.2\n---\n{text}")),
        4 => (
            "a component",
            &list,
            text.replace("v1beta1", "v1alpha1")
                .replace("Kustomization", "Component"),
        ),
        5 => (
            "an empty list",
            &list,
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n".to_owned(),
        ),
        6 => (
            "no value",
            &list,
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
                .to_owned(),
        ),
        7 => ("two documents", &list, format!("{text}\n---\n{text}")),
        8 => ("a byte order mark", &list, format!("\u{feff}{text}")),
        9 => (
            "another case",
            &list,
            text.replace("resources:", "Resources:")
                .replace("bases:", "Bases:"),
        ),
        10 => ("an unknown field", &list, format!("{text}\nresource: []\n")),
        11 => (
            "a namespace",
            &list,
            format!("{text}\nnamespace: flux-tenants\n"),
        ),
        12 => (
            "%YAML in a file",
            &tenant,
            format!("%YAML 1.2\n---\n{file}"),
        ),
        13 => (
            "an anchor",
            &tenant,
            file.replace("  values:", "  values: &values"),
        ),
        14 => ("carriage returns", &tenant, file.replace('\n', "\r\n")),
        15 => ("text behind ---", &tenant, format!("--- {{a: b}}\n{file}")),
        16 => (
            "no name",
            &tenant,
            file.replacen("metadata:\n  name:", "metadata:\n  nam:", 1),
        ),
        17 => ("a second list", &list, text.clone()),
        _ => ("noise", &tenant, noisy(&file, random)),
    };
    if name == "a second list" {
        generated
            .tree
            .insert(path(&format!("{folder}/kustomization.yml")), text);
    } else {
        generated.tree.insert(at.clone(), with);
    }
    generated.damage = Some(name);
}

fn number_of(generated: &Generated) -> usize {
    let first = generated.tenants.keys().next().expect("a tenant");
    first
        .rsplit('-')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// Puts noise at random places of a text, half of it where a word begins.
fn noisy(text: &str, random: &mut Rng) -> String {
    let mut text = text.to_owned();
    for _ in 0..=random.usize(..2) {
        let is_at_word = random.bool();
        let mut before = '\n';
        let mut places = Vec::new();
        for (at, character) in text.char_indices() {
            if !is_at_word || !character.is_whitespace() && " \n{[,".contains(before) {
                places.push(at);
            }
            before = character;
        }
        let at = random.choice(places).unwrap_or(0);
        text.insert_str(at, random.choice(NOISE).expect("some noise"));
    }
    text
}

/// A case with noise in one of its files.
pub(crate) fn noisy_case(random: &mut Rng) -> Case {
    let (name, files) = random.choice(CASES.iter()).expect("some cases");
    let noisy_file = random.usize(..files.len());
    let files = files.iter().enumerate().map(|(at, (file, text))| {
        let text = if at == noisy_file {
            noisy(text, random)
        } else {
            text.clone()
        };
        (file.clone(), text)
    });
    let files = files.collect();
    (format!("{name}, with noise"), files)
}

/// Adds a folder of others: a case as it is, or one with noise in a file.
fn add_other(generated: &mut Generated, index: usize, random: &mut Rng) {
    let (name, files) = if random.u8(..3) > 0 {
        noisy_case(random)
    } else {
        random.choice(CASES.iter()).expect("some cases").clone()
    };
    let folder = path(&format!("{REST}/{index}"));
    for (file, text) in files {
        generated
            .tree
            .insert(path(&format!("{folder}/{file}")), text);
    }
    generated.others.insert(folder, name);
}
