use proptest::prelude::*;
use serde_json::{Value, json};

use super::{inline, is_ambiguous, kustomize, parse, remove, set};

const FILE: &str = "\
# The tenant.
metadata:
  name: acme # its id
  labels: {a: b}
spec:
  version: '0.0.x' # {\"$imagepolicy\": \"flux-system:x:tag\"}
  values:
    apps:
      producer:
        tag: \"0.0.1\" # {\"$imagepolicy\": \"flux-system:producer:tag\"}
    note: |
      two
      lines

    # behind the note
    empty:
---
kind: Other
";

fn json(text: &str) -> Vec<Value> {
    parse(text)
        .expect(text)
        .iter()
        .map(|document| document.root.to_json())
        .collect()
}

fn set_in(text: &str, path: &str, value: Value) -> String {
    set(text, 0, &path.split('.').collect::<Vec<_>>(), &value).expect(path)
}

#[test]
fn an_edit_keeps_quotes_comments_and_every_other_byte() {
    let edited = set_in(FILE, "spec.version", json!("0.1.x"));
    assert_eq!(edited, FILE.replace("'0.0.x'", "'0.1.x'"));
    let edited = set_in(FILE, "spec.values.apps.producer.tag", json!("0.0.2"));
    assert_eq!(edited, FILE.replace("\"0.0.1\"", "\"0.0.2\""));
    let edited = set_in(FILE, "metadata.name", json!("beta"));
    assert_eq!(edited, FILE.replace("name: acme", "name: beta"));
}

#[test]
fn a_new_key_comes_last_in_its_map() {
    let edited = set_in(FILE, "spec.values.suspended", json!(true));
    assert_eq!(
        edited,
        FILE.replace("    empty:\n", "    empty:\n    suspended: true\n")
    );
    let edited = set_in(FILE, "spec.values.apps.consumer.enabled", json!(false));
    assert!(
        edited.contains("producer:tag\"}\n      consumer:\n        enabled: false\n    note: |"),
        "{edited}"
    );
    let edited = set_in(FILE, "metadata.annotations.tenantry.dev/hold", json!("why"));
    assert_eq!(
        json(&edited)[0]["metadata"]["annotations"]["tenantry"]["dev/hold"],
        "why"
    );
    let edited = set_in(FILE, "metadata.labels.c", json!({"d": [1, "2"]}));
    assert!(
        edited.contains("labels: {a: b, c: {d: [1, \"2\"]}}"),
        "{edited}"
    );
    let edited = set_in(FILE, "spec.values.empty.a.b", json!(1));
    assert!(
        edited.contains("    empty:\n      a:\n        b: 1\n---"),
        "{edited}"
    );
    let edited = set_in(FILE, "spec.values.empty", json!(1));
    assert!(edited.contains("    empty: 1\n---"), "{edited}");
    let edited = set_in("a:\n  b: 1", "a.c", json!(2));
    assert_eq!(edited, "a:\n  b: 1\n  c: 2");
    assert_eq!(set_in("a: {}\n", "a.b", json!("x y")), "a: {b: \"x y\"}\n");
    let block_last = "a:\n  b: |\n    text\n\n\nc: 1\n";
    assert_eq!(
        json(&set_in(block_last, "a.d", json!(2))),
        vec![json!({"a": {"b": "text\n", "d": 2}, "c": 1})]
    );
}

#[test]
fn a_collection_is_replaced_as_a_whole() {
    assert_eq!(
        set_in("a:\n  - 1\n  - 2\nb: 1\n", "a", json!(["x", "z"])),
        "a: [x, z]\nb: 1\n"
    );
    assert_eq!(set_in("a: [1] # c\n", "a", json!(["x"])), "a: [x] # c\n");
    assert_eq!(
        set_in("a: |\n  t\n\nb: 1\n", "a", json!(2)),
        "a: 2\n\nb: 1\n"
    );
}

#[test]
fn a_removed_key_leaves_no_empty_map() {
    let path = ["metadata", "annotations", "tenantry.dev/hold"];
    let held = set(FILE, 0, &path, &json!("it's: #1")).expect("set");
    assert!(
        held.contains("  annotations:\n    tenantry.dev/hold: \"it's: #1\"\nspec:"),
        "{held}"
    );
    assert_eq!(remove(&held, 0, &path).expect("removed"), FILE);
    assert_eq!(remove(FILE, 0, &path).expect("nothing there"), FILE);
    assert_eq!(
        remove("a: {b: 1, c: 2}\n", 0, &["a", "c"]).expect("removed"),
        "a: {b: 1}\n"
    );
    assert_eq!(
        remove("a: {b: 1, c: 2}\n", 0, &["a", "b"]).expect("removed"),
        "a: {c: 2}\n"
    );
}

#[test]
fn only_the_given_document_is_changed() {
    let edited = set(FILE, 1, &["kind"], &json!("Namespace")).expect("set");
    assert_eq!(edited, FILE.replace("kind: Other", "kind: Namespace"));
    assert!(set(FILE, 2, &["kind"], &json!(1)).is_err());
}

#[test]
fn constructs_that_readers_disagree_on_are_refused_with_a_position() {
    for (text, line, column, words) in [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "twice"),
        ("a:\n\tb: 1\n", 2, 1, "tab"),
        ("a: &x 1\nb: *x\n", 1, 4, "anchor"),
        ("a: &x [1, 2]\n", 1, 4, "anchor"),
        ("a:\n  <<: 1\n", 2, 3, "merge"),
        ("a: !!str 1\n", 1, 4, "tag"),
        ("a: 1\r\n", 1, 5, "carriage"),
        ("\u{feff}a: 1\n", 1, 1, "byte order"),
        ("a: \"b\u{7}\"\n", 1, 6, "control"),
        ("? [a, b]\n: 1\n", 1, 3, "key"),
        ("a: b\n c: d\n", 2, 3, ""),
        ("a: [1\n", 2, 1, ""),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.message.contains(words), "{text:?}: {error}");
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn an_alias_bomb_or_deep_nesting_is_refused_at_once() {
    assert!(parse("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n").is_err());
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&"- ".repeat(10_000)).is_err());
}

#[test]
fn words_and_numbers_of_yaml_1_1_are_ambiguous_and_written_in_quotes() {
    for text in ["yes", "NO", "on", "y", "010", "1_000", "12:30", ".inf"] {
        assert!(is_ambiguous(text), "{text}");
        assert_eq!(inline(&json!(text)), format!("\"{text}\""));
    }
    for text in ["0", "10", "0.1", "acme", "0.1.3", "none", "1.2.3:4"] {
        assert!(!is_ambiguous(text), "{text}");
    }
    for text in [
        "true", "null", "0", "1e3", "0x10", "", " a", "a ", "a: b", "a #b", "- a", "{", "\u{2028}",
        "é",
    ] {
        assert!(inline(&json!(text)).starts_with('"'), "{text:?}");
    }
}

#[test]
fn positions_are_right_behind_characters_of_several_bytes() {
    let text = "é: \"ü\" # ö\nb: x # ß\n";
    assert_eq!(
        set(text, 0, &["b"], &json!("z")).expect("set"),
        "é: \"ü\" # ö\nb: z # ß\n"
    );
    assert_eq!(
        set(text, 0, &["é"], &json!("a")).expect("set"),
        "é: \"a\" # ö\nb: x # ß\n"
    );
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z0-9.:#{}\\[\\]'\" -]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}|.{1,3}", inner, 0..4).prop_map(|map| map
                .into_iter()
                .filter(|(key, _)| key != "<<")
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #[test]
    fn any_written_value_is_read_back(value in value()) {
        let text = format!("a: {}\n", inline(&value));
        prop_assert_eq!(&json(&text)[0]["a"], &value);
    }

    #[test]
    fn setting_changes_one_value_and_no_other_byte(line in 0usize..60, value in value()) {
        let path = &format!("k{}", line % 20);
        let text: String = (0..20).map(|at| format!("k{at}: \"v {at}\" # c {at}\n")).collect();
        let edited = set(&text, 0, &[path], &value).expect("a plain map can be edited");
        let others = |text: &str| text.lines().filter(|line| !line.starts_with(&format!("{path}:"))).map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(others(&text), others(&edited));
        let comment = format!(" # c {}", line % 20);
        prop_assert!(edited.lines().any(|line| line.starts_with(path.as_str()) && line.ends_with(&comment)));
    }

    #[test]
    fn no_text_makes_a_parse_or_an_edit_panic(text in "([a-z:#&*!|>'\"\\[\\]{},?%@` \t\n-]|---\n){0,80}", path in "[a-z]") {
        drop(parse(&text));
        drop((kustomize::objects(&text), kustomize::kustomization(&text)));
        drop(set(&text, 0, &[&path, "b"], &json!(1)));
        drop(remove(&text, 0, &[&path]));
    }
}
