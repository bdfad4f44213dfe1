//! Selectors of labels and annotations, read as kustomize reads them: by the grammar of Kubernetes' label selectors.

use std::iter::Peekable;
use std::vec::IntoIter;

/// Longest name of a label, and longest value.
const MAX_NAME: usize = 63;
/// Longest prefix of a label's name.
const MAX_PREFIX: usize = 253;
const WORDS: [&str; 2] = ["in", "notin"];
const SYMBOLS: [&str; 9] = ["==", "!=", "(", ")", ",", "!", "=", ">", "<"];
const SPECIAL: [char; 7] = ['=', '!', '(', ')', ',', '>', '<'];
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Checks a selector.
///
/// # Errors
/// What is wrong.
pub(super) fn check(selector: &str) -> Result<(), String> {
    let mut tokens = tokens(selector).into_iter().peekable();
    loop {
        if tokens.peek().is_none() {
            return Ok(());
        }
        requirement(&mut tokens)?;
        match tokens.next().as_deref() {
            None => return Ok(()),
            Some(",")
                if tokens
                    .peek()
                    .is_some_and(|next| next == "!" || is_name(next)) => {}
            Some(other) => return Err(format!("{other:?} is not expected there")),
        }
    }
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

fn requirement(tokens: &mut Tokens) -> Result<(), String> {
    let is_absent = tokens.next_if(|token| token == "!").is_some();
    let key = tokens.next().unwrap_or_default();
    if !is_key(&key) {
        return Err(format!("{key:?} is not the name of a label"));
    }
    if is_absent || tokens.peek().is_none_or(|token| token == ",") {
        return Ok(());
    }
    let operator = tokens.next().unwrap_or_default();
    let values = if WORDS.contains(&operator.as_str()) {
        values(tokens)?
    } else if ["=", "==", "!=", ">", "<"].contains(&operator.as_str()) {
        let is_empty = tokens.peek().is_none_or(|token| token == ",");
        vec![if is_empty {
            String::new()
        } else {
            name(tokens)?
        }]
    } else {
        return Err(format!("{operator:?} is not an operator"));
    };
    let is_compared = [">", "<"].contains(&operator.as_str());
    let is_wrong =
        |value: &&String| !is_value(value) || (is_compared && value.parse::<i64>().is_err());
    match values.iter().find(is_wrong) {
        Some(wrong) => Err(format!("{wrong:?} is not a value that fits")),
        None => Ok(()),
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
    let mut found = Vec::new();
    while tokens.next_if(|token| token == ")").is_none() {
        if tokens.next_if(|token| token == ",").is_some() {
            continue;
        }
        found.push(name(tokens)?);
        if !tokens
            .peek()
            .is_some_and(|token| token == "," || token == ")")
        {
            return Err("a comma or a closing parenthesis is missing".to_owned());
        }
    }
    Ok(found)
}

/// Whether a text is a label's name, with or without a prefix.
fn is_key(key: &str) -> bool {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_label = |part: &str| {
        let is_end =
            |it: Option<char>| it.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
        let is_inner = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
        is_end(part.chars().next()) && is_end(part.chars().last()) && part.chars().all(is_inner)
    };
    let is_prefix = |prefix: &str| prefix.len() <= MAX_PREFIX && prefix.split('.').all(is_label);
    !name.is_empty() && is_value(name) && prefix.is_none_or(is_prefix)
}

/// Whether a text is a label's value, which may be empty.
fn is_value(value: &str) -> bool {
    let is_end = |it: Option<char>| it.is_none_or(|it| it.is_ascii_alphanumeric());
    let is_inner = |it: char| it.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&it);
    value.len() <= MAX_NAME
        && is_end(value.chars().next())
        && is_end(value.chars().last())
        && value.chars().all(is_inner)
}
