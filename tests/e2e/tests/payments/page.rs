//! The section "Try it" of docs/payments.md is correct: its commands run against `local`, and their output is compared with the
//! printed one, except ids and times.

use std::collections::HashMap;
use std::process::Command;

use kit::local::Local;
use kit::process::{Exit, Process, command_with_clean_env, repository};
use kit::wait::{PATIENCE, until};

/// The commands of the section, each with the output printed below it.
fn section() -> Vec<(String, String)> {
    let readme =
        std::fs::read_to_string(repository().join("docs/payments.md")).expect("there is a page");
    let (_, section) = readme
        .split_once("\n## Try it\n")
        .expect("it has the section");
    let section = section.split("\n## ").next().expect("it has an end");
    let mut steps = Vec::new();
    for block in section.split("```console\n").skip(1) {
        for line in block.split("```").next().expect("a block ends").lines() {
            match line.strip_prefix("$ ") {
                Some(command) => steps.push((command.to_owned(), String::new())),
                None => steps.last_mut().expect("a command comes first").1 += line,
            }
        }
    }
    steps
}

/// Every id and time of a text, in order: 36 characters of a UUID, or a time to the second or finer.
fn variable_parts(text: &str) -> Vec<String> {
    let is_part = |part: &&str| {
        let is_uuid = part.len() == 36 && part.bytes().filter(|byte| *byte == b'-').count() == 4;
        is_uuid || (part.len() > 20 && part.starts_with("20") && part.contains('T'))
    };
    let inside = |byte: char| byte.is_ascii_alphanumeric() || "-:.+".contains(byte);
    text.split(|character| !inside(character))
        .filter(is_part)
        .map(ToOwned::to_owned)
        .collect()
}

/// The text with every id and time replaced by the number of its first occurrence.
fn masked(text: &str, seen: &mut HashMap<String, String>) -> String {
    let mut masked = text.to_owned();
    for part in variable_parts(text) {
        let count = seen.len();
        let name = seen
            .entry(part.clone())
            .or_insert_with(|| format!("<{count}>"))
            .clone();
        masked = masked.replace(
            &part,
            if part.starts_with("20") {
                "<time>"
            } else {
                &name
            },
        );
    }
    masked
}

async fn run(command: &str) -> String {
    let mut shell: Command = command_with_clean_env("sh");
    shell.args(["-c", command]);
    let mut process = Process::start("sh", shell);
    assert_eq!(
        process.exit(PATIENCE).await,
        Exit::Code(0),
        "{command}: {}",
        process.stderr().join("\n")
    );
    process.stdout().join("").replace('\r', "")
}

#[tokio::test]
async fn the_commands_of_the_page_answer_as_printed() {
    let local = Local::start(None).await;
    let steps = section();
    assert!(steps.len() >= 6, "{steps:?}");
    // Ids of the page and their counterparts in this run.
    let mut became: HashMap<String, String> = HashMap::new();
    let (mut seen_there, mut seen_here) = (HashMap::new(), HashMap::new());
    for (command, printed) in steps {
        let mut command = command.replace("127.0.0.1:8080", &local.gateway.to_string());
        for (there, here) in &became {
            command = command.replace(there, here);
        }
        let expected = masked(&printed, &mut seen_there);
        let seen_before = seen_here.clone();
        // An event is stored shortly after the answer to its charge.
        until(
            &format!("{command} answers {printed}"),
            PATIENCE,
            async || {
                seen_here.clone_from(&seen_before);
                let answered = run(&command).await;
                let is_as_printed = masked(&answered, &mut seen_here) == expected;
                if is_as_printed {
                    became.extend(
                        variable_parts(&printed)
                            .into_iter()
                            .zip(variable_parts(&answered)),
                    );
                }
                is_as_printed
            },
        )
        .await;
    }
}
