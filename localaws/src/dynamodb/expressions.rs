//! Expressions of requests, as far as the checks of reads and the projections need them: tokens, and names resolved.

use serde_json::Value;

pub(super) fn names(request: &Value) -> &Value {
    &request["ExpressionAttributeNames"]
}

pub(super) fn resolve(word: &str, names: &Value) -> String {
    names[word].as_str().unwrap_or(word).to_owned()
}

/// Words of expressions that are no attributes, beside functions, which `(` follows. AWS reserves them.
const KEYWORDS: [&str; 5] = ["AND", "OR", "NOT", "BETWEEN", "IN"];

/// Returns the attributes at the start of an expression's paths.
pub(super) fn top_level_attributes(expression: &str, names: &Value) -> Vec<String> {
    let tokens = tokens(expression);
    let is_attribute = |(position, word): (usize, &str)| {
        let is_function = tokens.get(position + 1) == Some(&Token::Open);
        let is_nested = position > 0 && tokens[position - 1] == Token::Dot;
        let is_keyword = KEYWORDS
            .iter()
            .any(|keyword| keyword.eq_ignore_ascii_case(word));
        !is_function && !is_nested && !is_keyword
    };
    let words = tokens
        .iter()
        .enumerate()
        .filter_map(|(position, token)| match token {
            Token::Word(word) => Some((position, *word)),
            _ => None,
        });
    words
        .filter(|word| is_attribute(*word))
        .map(|(_, word)| resolve(word, names))
        .collect()
}

/// Comparators of two signs.
const COMPARATORS: [&str; 3] = ["<=", ">=", "<>"];

/// A part of an expression, as far as the checks need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name, a `#name`, a keyword or a function.
    Word(&'a str),
    /// `:value`.
    Value(&'a str),
    Dot,
    Open,
    /// A comparator, another sign, or an index of a list.
    Symbol(&'a str),
}

pub(super) fn tokens(expression: &str) -> Vec<Token<'_>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = rest[first.len_utf8()..]
            .find(|c| !is_part(c))
            .map_or(rest.len(), |end| end + first.len_utf8());
        let (token, end) = match first {
            ':' => (Token::Value(&rest[..end]), end),
            '#' | '_' => (Token::Word(&rest[..end]), end),
            _ if first.is_alphabetic() => (Token::Word(&rest[..end]), end),
            _ if first.is_alphanumeric() => (Token::Symbol(&rest[..end]), end),
            '.' => (Token::Dot, 1),
            '(' => (Token::Open, 1),
            _ => {
                let pair = COMPARATORS.iter().find(|pair| rest.starts_with(**pair));
                let end = pair.map_or(first.len_utf8(), |pair| pair.len());
                (Token::Symbol(&rest[..end]), end)
            }
        };
        tokens.push(token);
        rest = rest[end..].trim_start();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_attributes_of_an_expression_are_those_at_the_start_of_its_paths() {
        let names = json!({"#a": "a.b", "#f": "size"});
        for (expression, attributes) in [
            ("a, b.c, d[0].e, #a", &["a", "b", "d", "a.b"][..]),
            ("a.b.#f", &["a"]),
            ("#f", &["size"]),
            ("attribute_exists(a) AND NOT contains (b, :v)", &["a", "b"]),
            (
                "a BETWEEN :x AND :y OR size(c.d) IN (:x, e)",
                &["a", "c", "e"],
            ),
            ("(a = :v)", &["a"]),
            ("_x <> :v", &["_x"]),
            ("", &[]),
        ] {
            assert_eq!(
                top_level_attributes(expression, &names),
                attributes,
                "{expression}"
            );
        }
    }
}
