//! Reading of texts against go-yaml itself.
//!
//! `recorded.json` has texts of each kind with what go-yaml made of them. With `KUSTOMIZE_BATCH` set, as `make kustomize` does,
//! generated texts are read by go-yaml too, `KUSTOMIZE_TEXTS` of them from `KUSTOMIZE_SEED`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use fastrand::Rng;
use serde_json::Value;

use crate::{Error, EventKind, Events, Properties, Style, Version};

const TEXTS: u64 = 20_000;
const SEED: u64 = 18;
/// Texts in one exchange with the program.
const BATCH: u64 = 64;
const WHOLE: [&str; 8] = [
    "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ok\ndata:\n  a: \"1\"\n  b: |\n    two\n     lines\n\n  c: 'it''s'\n",
    "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- a.yaml\n- ./b.yaml # b\nlabels:\n- pairs: {a: b, c: \"d\"}\n",
    "# head\n---\na: &a\n  - 1\n  - {b: c, d: [e, f]}\n# foot\nb: *a\nc:\n  <<: *a\n",
    "a:\n  - # comment\n    b: c\n  -\td\n  - - e\n    - f\n\n\n# x\n  # y\n\ng: h\n",
    "? a\n: b\n? - c\n  - d\n: - e\n",
    "%TAG !e! tag:example.com,2000:\n--- !e!x\na: !!str 1\nb: !<tag:x,2000:y> c\n...\n# end\n---\nd: e\n",
    "a: >-\n  folded\n  text\n\n    more\nb: |2+\n    x\n\nc: plain\n  and more\n\n  text\nd: \"x\\\n  y \\u00e9\\t\n\n  z\"\n",
    "{a: b, ? c, \"d\":e, [f]: g, h}\n",
];
const PIECES: [&str; 97] = [
    "[",
    "]",
    "{",
    "}",
    ",",
    ", ",
    ":",
    ": ",
    "a: ",
    "b: ",
    "- ",
    "-",
    "? ",
    "?",
    "a",
    "b",
    "a b",
    "1",
    "&a",
    "&a ",
    "&b ",
    "*a",
    "*a ",
    "*b",
    "!",
    "! ",
    "!a ",
    "!a",
    "!!str ",
    "!!str",
    "!!int ",
    "!<tag:x>",
    "!<tag:x> ",
    "!<",
    "!e!x ",
    "!a%20b ",
    "!%c3%a9 ",
    "!%ff ",
    "%",
    "|",
    "|\n",
    ">\n",
    "|2\n",
    "|-1\n",
    ">+\n",
    "|9",
    "|0\n",
    "|+ # c\n",
    "'",
    "''",
    "\"",
    "\"\"",
    "\\",
    "\\\n",
    "\\n",
    "\\'",
    "\\/",
    "\\x41",
    "\\u00e9",
    "\\ud800",
    "\\U0001F600",
    "\\q",
    "@",
    "`",
    "#",
    " #",
    " # c\n",
    "\t#",
    "\t",
    " ",
    "  ",
    "    ",
    "\n",
    "\n\n",
    "\n  ",
    "\n ",
    "\n- ",
    "\n  - ",
    "\nb: ",
    "\r\n",
    "\r",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    "é",
    "😀",
    "---\n",
    "\n---\n",
    "--- ",
    "...\n",
    "\n...\n",
    "%YAML 1.1\n",
    "%TAG ! x\n",
    "<<: *a\n",
    "~",
    "=",
];

/// One line for each node, as the program writes them.
fn nodes(text: &str, version: Version) -> Result<Vec<String>, Error> {
    let mut events = Events::new(text, version);
    let (mut lines, mut anchors) = (Vec::new(), Vec::new());
    loop {
        let event = events.next_event()?;
        let written = |properties: Properties, anchors: &mut Vec<String>| {
            let mut written = String::new();
            if let Some(anchor) = properties.anchor {
                written += &format!("&{anchor} ");
                anchors.push(anchor);
            }
            if let Some(tag) = properties.tag.filter(|tag| tag != "!") {
                written += &format!("<{}> ", tag.replacen("tag:yaml.org,2002:", "!!", 1));
            }
            written
        };
        lines.push(match event.kind {
            EventKind::DocumentStart => continue,
            EventKind::DocumentEnd | EventKind::StreamEnd => return Ok(lines),
            EventKind::Alias(anchor) if !anchors.contains(&anchor) => {
                return Err(event.mark.error("unknown"));
            }
            EventKind::Alias(anchor) => format!("*{anchor}"),
            EventKind::Scalar {
                properties,
                value,
                style,
            } => {
                let style = match style {
                    Style::Plain => "plain",
                    Style::Single => "single",
                    Style::Double => "double",
                    Style::Block => "block",
                };
                format!("{}{style} {value}", written(properties, &mut anchors))
            }
            EventKind::ListStart(properties) => written(properties, &mut anchors) + "[",
            EventKind::ListEnd => "]".to_owned(),
            EventKind::MapStart(properties) => written(properties, &mut anchors) + "{",
            EventKind::MapEnd => "}".to_owned(),
        });
    }
}

/// Returns how our reading of a text differs from go-yaml's answer.
fn difference(text: &str, answer: &Value) -> Option<String> {
    let failed = |key: &str| answer[key].as_str().is_some_and(|error| !error.is_empty());
    let (second, third) = (nodes(text, Version::V2), nodes(text, Version::V3));
    let theirs: Vec<&str> = answer["nodes"]
        .as_array()
        .map(|lines| lines.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let agrees = second.is_err() == failed("error2")
        && match &third {
            Ok(ours) => !failed("error3") && *ours == theirs,
            Err(_) => failed("error3"),
        };
    (!agrees).then(|| format!("{text:?}\n  {answer}\n  2: {second:?}\n  3: {third:?}"))
}

fn insert(text: &mut String, random: &mut Rng) {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let at = places.get(random.usize(..=places.len())).copied();
    text.insert_str(
        at.unwrap_or(text.len()),
        PIECES[random.usize(..PIECES.len())],
    );
}

fn generated(random: &mut Rng) -> String {
    let mut text = String::new();
    match random.u8(..4) {
        0 => {
            for _ in 0..random.usize(1..24) {
                text += PIECES[random.usize(..PIECES.len())];
            }
        }
        1 => {
            // Texts of several chunks: go-yaml decodes 512 bytes at once.
            for _ in 0..random.usize(2..12) {
                text += WHOLE[random.usize(..WHOLE.len())];
            }
            for _ in 0..random.usize(1..4) {
                insert(&mut text, random);
            }
        }
        _ => {
            WHOLE[random.usize(..WHOLE.len())].clone_into(&mut text);
            for _ in 0..random.usize(1..5) {
                insert(&mut text, random);
            }
            if random.bool() {
                let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
                text.truncate(places[random.usize(..places.len())]);
            }
        }
    }
    text
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// Texts of each kind, with go-yaml's answers.
fn recorded() -> serde_json::Map<String, Value> {
    serde_json::from_str(include_str!("recorded.json")).expect("a map of answers")
}

#[test]
fn each_kind_of_text_is_read_as_go_yaml_read_it() {
    let differences: Vec<String> = recorded()
        .iter()
        .filter_map(|(text, answer)| difference(text, answer))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn generated_texts_are_read_as_go_yaml_reads_them() {
    let Some(program) = std::env::var_os("KUSTOMIZE_BATCH") else {
        return;
    };
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("KUSTOMIZE_BATCH names a program");
    let mut texts = child.stdin.take().expect("piped");
    let mut answers = BufReader::new(child.stdout.take().expect("piped"));
    let mut random = Rng::with_seed(setting("KUSTOMIZE_SEED", SEED));
    let (mut differences, mut refused) = (Vec::new(), 0);
    for (text, answer) in recorded() {
        writeln!(texts, "{}", Value::from(text.as_str())).expect("the program reads");
        let mut line = String::new();
        answers.read_line(&mut line).expect("the program answers");
        let now: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            now, answer,
            "{text:?}: the recorded answer is another go-yaml's"
        );
    }
    let count = setting("KUSTOMIZE_TEXTS", TEXTS);
    for _ in 0..count.div_ceil(BATCH) {
        let batch: Vec<String> = (0..BATCH).map(|_| generated(&mut random)).collect();
        for text in &batch {
            writeln!(texts, "{}", Value::from(text.as_str())).expect("the program reads");
        }
        for text in batch {
            let mut line = String::new();
            answers.read_line(&mut line).expect("the program answers");
            let answer = serde_json::from_str(&line).expect("JSON");
            differences.extend(difference(&text, &answer));
            refused += usize::from(nodes(&text, Version::V3).is_err());
        }
    }
    drop(texts);
    child.wait().expect("the program ends");
    println!(
        "{count} texts, {refused} refused, {} differences",
        differences.len()
    );
    differences.sort_by_key(String::len);
    differences.truncate(12);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
