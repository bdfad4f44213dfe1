//! Real kustomize: the one in the `kubectl` on the PATH or among the tools of `make test`, or the program `batch`, which builds many
//! folders in one process and which `KUSTOMIZE_BATCH` names.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

pub(crate) enum Kustomize {
    Kubectl(PathBuf),
    Batch(PathBuf, Mutex<Option<Batch>>),
}

pub(crate) struct Batch {
    child: Child,
    folders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Kustomize {
    pub(crate) fn find() -> Self {
        if let Some(program) = std::env::var_os("KUSTOMIZE_BATCH") {
            return Self::Batch(program.into(), Mutex::new(None));
        }
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let kubectl = std::iter::once(tools)
            .chain(std::env::split_paths(&path))
            .map(|folder| folder.join("kubectl"))
            .find(|program| program.is_file());
        Self::Kubectl(
            kubectl.expect("kubectl, which contains kustomize: run `make tools`, or install it"),
        )
    }

    /// Builds a folder; the error is kustomize's message.
    pub(crate) fn build(&self, folder: &Path) -> Result<String, String> {
        let kubectl = match self {
            Self::Kubectl(kubectl) => kubectl,
            Self::Batch(program, batch) => {
                let mut batch = batch.lock().expect("no test panics in a build");
                let running = batch.get_or_insert_with(|| Batch::start(program));
                return running.build(folder).unwrap_or_else(|| {
                    // Kustomize overflows its stack on an alias of itself.
                    *batch = None;
                    Err("kustomize crashed".to_owned())
                });
            }
        };
        let output = Command::new(kubectl)
            .arg("kustomize")
            .arg(folder)
            .env("HOME", folder)
            .output()
            .expect("kubectl starts");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// Builds many folders in few calls: a list of all of them builds only if each does. Returns the folders that fail, each with
    /// its message, and the objects of the others.
    pub(crate) fn build_all(
        &self,
        scratch: &Path,
        folders: &[PathBuf],
    ) -> (String, Vec<(PathBuf, String)>) {
        if let [one] = folders {
            return match self.build(one) {
                Ok(output) => (output, Vec::new()),
                Err(message) => (String::new(), vec![(one.clone(), message)]),
            };
        }
        let all = tempfile::tempdir_in(scratch).expect("a folder");
        let entry = |folder: &PathBuf| {
            let below = folder.strip_prefix(scratch).expect("in the scratch folder");
            format!("- ../{}\n", below.display())
        };
        let list: String = folders.iter().map(entry).collect();
        let text = format!("resources:\n{list}");
        std::fs::write(all.path().join("kustomization.yaml"), text).expect("written");
        if let Ok(output) = self.build(all.path()) {
            return (output, Vec::new());
        }
        let (left, right) = folders.split_at(folders.len() / 2);
        let (left, right) = (
            self.build_all(scratch, left),
            self.build_all(scratch, right),
        );
        let output = format!("{}---\n{}", left.0, right.0);
        (output, [left.1, right.1].concat())
    }
}

impl Batch {
    fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("KUSTOMIZE_BATCH names a program");
        Self {
            folders: child.stdin.take().expect("standard input is piped"),
            answers: BufReader::new(child.stdout.take().expect("standard output is piped")),
            child,
        }
    }

    /// Builds a folder; `None` if the program ended.
    fn build(&mut self, folder: &Path) -> Option<Result<String, String>> {
        writeln!(self.folders, "{}", folder.display()).ok()?;
        let mut line = String::new();
        self.answers.read_line(&mut line).ok()?;
        let answer: serde_json::Value = serde_json::from_str(&line).ok()?;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Some(match text("error") {
            error if error.is_empty() => Ok(text("output")),
            error => Err(error),
        })
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // The program only reads; both calls fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The kind, the name and the chart's version of each object that kustomize printed.
pub(crate) fn objects(output: &str) -> Vec<(String, String, Option<String>)> {
    let mut found = Vec::new();
    for document in output
        .split("\n---\n")
        .map(|text| text.trim_start_matches("---\n"))
    {
        let after = |prefix: &str| {
            document
                .lines()
                .find_map(|line| line.strip_prefix(prefix))
                .map(|value| value.trim_matches('"').to_owned())
        };
        let Some(kind) = after("kind: ") else {
            continue;
        };
        let metadata = document
            .split_once("\nmetadata:\n")
            .map_or("", |(_, rest)| rest);
        let name = metadata.lines().take_while(|line| line.starts_with(' '));
        let name = name.filter_map(|line| line.strip_prefix("  name: ")).next();
        let name = name.unwrap_or_default().trim_matches('"').to_owned();
        found.push((kind, name, after("      version: ")));
    }
    found
}
