//! Selectors of labels and annotations, read as kustomize reads them: by the grammar of Kubernetes' label selectors.

use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::Value;

use crate::request::is_label;

/// Longest prefix of a label's name.
const MAX_PREFIX: usize = 253;
const WORDS: [&str; 2] = ["in", "notin"];
const SYMBOLS: [&str; 9] = ["==", "!=", "(", ")", ",", "!", "=", ">", "<"];
const SPECIAL: [char; 7] = ['=', '!', '(', ')', ',', '>', '<'];
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// What a selector requires of one label.
pub(super) struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy)]
enum Operator {
    Present,
    Absent,
    In,
    NotIn,
    Above,
    Below,
}

impl Requirement {
    /// Whether labels, or annotations, are as required.
    pub(super) fn is_met_by(&self, labels: &Value) -> bool {
        let label = labels.get(&self.key).map(|value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        });
        let is_listed = label
            .as_ref()
            .is_some_and(|label| self.values.contains(label));
        let compared = || {
            let number = label.as_ref()?.parse::<i64>().ok()?;
            Some((number, self.values.first()?.parse::<i64>().ok()?))
        };
        match self.operator {
            Operator::Present => label.is_some(),
            Operator::Absent => label.is_none(),
            Operator::In => is_listed,
            Operator::NotIn => !is_listed,
            Operator::Above => compared().is_some_and(|(label, value)| label > value),
            Operator::Below => compared().is_some_and(|(label, value)| label < value),
        }
    }
}

/// Reads a selector.
///
/// # Errors
/// What is wrong.
pub(super) fn parse(selector: &str) -> Result<Vec<Requirement>, String> {
    let mut tokens = tokens(selector).into_iter().peekable();
    let mut found = Vec::new();
    while tokens.peek().is_some() {
        found.push(requirement(&mut tokens)?);
        match tokens.next().as_deref() {
            None => break,
            Some(",")
                if tokens
                    .peek()
                    .is_some_and(|next| next == "!" || is_name(next)) => {}
            Some(other) => return Err(format!("{other:?} is not expected there")),
        }
    }
    Ok(found)
}

type Tokens = Peekable<IntoIter<String>>;

fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.split('\0').next().unwrap_or_default();
    loop {
        rest = rest.trim_start_matches(BLANKS);
        if rest.is_empty() {
            return found;
        }
        let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
        let length = symbol.map_or_else(
            || {
                let end = |it: char| SPECIAL.contains(&it) || BLANKS.contains(&it);
                rest.find(end).unwrap_or(rest.len())
            },
            |symbol| symbol.len(),
        );
        found.push(rest[..length].to_owned());
        rest = &rest[length..];
    }
}

/// Whether a token is a name or a value; `in` may be one, too.
fn is_name(token: &str) -> bool {
    !SYMBOLS.contains(&token)
}

fn requirement(tokens: &mut Tokens) -> Result<Requirement, String> {
    let is_absent = tokens.next_if(|token| token == "!").is_some();
    let key = tokens.next().unwrap_or_default();
    if !is_key(&key) {
        return Err(format!("{key:?} is not the name of a label"));
    }
    if is_absent || tokens.peek().is_none_or(|token| token == ",") {
        let operator = if is_absent {
            Operator::Absent
        } else {
            Operator::Present
        };
        let values = Vec::new();
        return Ok(Requirement {
            key,
            operator,
            values,
        });
    }
    let written = tokens.next().unwrap_or_default();
    let operator = match written.as_str() {
        "in" | "=" | "==" => Operator::In,
        "notin" | "!=" => Operator::NotIn,
        ">" => Operator::Above,
        "<" => Operator::Below,
        _ => return Err(format!("{written:?} is not an operator")),
    };
    let values = if WORDS.contains(&written.as_str()) {
        values(tokens)?
    } else {
        let is_empty = tokens.peek().is_none_or(|token| token == ",");
        vec![if is_empty {
            String::new()
        } else {
            name(tokens)?
        }]
    };
    let is_compared = matches!(operator, Operator::Above | Operator::Below);
    let is_wrong =
        |value: &&String| !is_value(value) || (is_compared && value.parse::<i64>().is_err());
    match values.iter().find(is_wrong) {
        Some(wrong) => Err(format!("{wrong:?} is not a value that fits")),
        None => Ok(Requirement {
            key,
            operator,
            values,
        }),
    }
}

fn name(tokens: &mut Tokens) -> Result<String, String> {
    let token = tokens.next().unwrap_or_default();
    if token.is_empty() || !is_name(&token) {
        return Err(format!("{token:?} is not a value"));
    }
    Ok(token)
}

/// Reads the values in parentheses. An absent one is the empty value.
fn values(tokens: &mut Tokens) -> Result<Vec<String>, String> {
    if tokens.next_if(|token| token == "(").is_none() {
        return Err("in and notin need values in parentheses".to_owned());
    }
    let (mut found, mut is_open) = (Vec::new(), true);
    while tokens.next_if(|token| token == ")").is_none() {
        if tokens.next_if(|token| token == ",").is_some() {
            if is_open {
                found.push(String::new());
            }
            is_open = true;
            continue;
        }
        found.push(name(tokens)?);
        is_open = false;
        if !tokens
            .peek()
            .is_some_and(|token| token == "," || token == ")")
        {
            return Err("a comma or a closing parenthesis is missing".to_owned());
        }
    }
    if is_open {
        found.push(String::new());
    }
    Ok(found)
}

/// Whether a text is a label's name, with or without a prefix.
fn is_key(key: &str) -> bool {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_part = |part: &str| {
        let is_end =
            |it: Option<char>| it.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
        let is_inner = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
        is_end(part.chars().next()) && is_end(part.chars().last()) && part.chars().all(is_inner)
    };
    let is_prefix = |prefix: &str| prefix.len() <= MAX_PREFIX && prefix.split('.').all(is_part);
    is_label(name) && prefix.is_none_or(is_prefix)
}

/// Whether a text is a label's value, which may be empty.
fn is_value(value: &str) -> bool {
    value.is_empty() || is_label(value)
}
