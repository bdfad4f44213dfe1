//! Refusals of conditions and filters that dynoxide evaluates and AWS refuses. Pure.

use base64::Engine as _;
use serde_json::Value;

use super::expressions::{Token, tokens};

/// Members that hold a condition.
pub(super) const MEMBERS: [&str; 2] = ["ConditionExpression", "FilterExpression"];
/// Operands of `IN`, and operators and functions of an expression (AWS).
const OPERANDS_MAX: usize = 100;
const OPERATORS_MAX: usize = 300;
/// Types that have an order.
const ORDERED: [&str; 3] = ["S", "N", "B"];
const TYPES: [&str; 10] = ["S", "SS", "N", "NS", "B", "BS", "BOOL", "NULL", "L", "M"];
const WORDS: [&str; 5] = ["AND", "OR", "NOT", "BETWEEN", "IN"];

/// Finds what AWS refuses in a request's conditions. `request` is a write, a read, or one write of a transaction.
pub(super) fn problem(request: &Value) -> Option<String> {
    let values = &request["ExpressionAttributeValues"];
    MEMBERS.iter().find_map(|member| {
        let problem = of_expression(request[*member].as_str()?, values)?;
        Some(format!("Invalid {member}: {problem}"))
    })
}

fn of_expression(expression: &str, values: &Value) -> Option<String> {
    let tokens = tokens(expression);
    let mut operators = 0;
    for (at, token) in tokens.iter().enumerate() {
        let behind = &tokens[at + 1..];
        let problem = match token {
            Token::Word(word) if is(word, "IN") => {
                operators += 1;
                too_many_operands(behind)
            }
            Token::Word(word) if is(word, "BETWEEN") => {
                operators += 1;
                wrong_bounds(behind, values)
            }
            Token::Word(word) if behind.first() == Some(&Token::Open) => {
                operators += 1;
                wrong_operand(word, behind, values)
            }
            Token::Word(word) => {
                operators += usize::from(WORDS.iter().any(|known| is(word, known)));
                None
            }
            Token::Symbol("=" | "<>") => {
                operators += 1;
                None
            }
            Token::Symbol(operator @ ("<" | "<=" | ">" | ">=")) => {
                operators += 1;
                let left = at.checked_sub(1).map(|before| &tokens[before]);
                let mut operands = left.into_iter().chain(behind.first());
                let kind = operands.find_map(|operand| unordered(operand, values));
                kind.map(|kind| incorrect("operator", operator, kind))
            }
            _ => None,
        };
        if problem.is_some() {
            return problem;
        }
    }
    (operators > OPERATORS_MAX).then(|| {
        format!(
            "The expression contains too many operators; operator count: {operators}, maximum: {OPERATORS_MAX}"
        )
    })
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

fn incorrect(what: &str, name: &str, kind: &str) -> String {
    format!("Incorrect operand type for operator or function; {what}: {name}, operand type: {kind}")
}

/// Returns the type and the value behind a `:name`.
fn typed<'v>(token: &Token<'_>, values: &'v Value) -> Option<(&'v str, &'v Value)> {
    let Token::Value(name) = token else {
        return None;
    };
    let (kind, value) = values[*name].as_object()?.iter().next()?;
    Some((kind.as_str(), value))
}

/// Returns the type of a value that has no order.
fn unordered<'v>(token: &Token<'_>, values: &'v Value) -> Option<&'v str> {
    let (kind, _) = typed(token, values)?;
    (!ORDERED.contains(&kind)).then_some(kind)
}

fn too_many_operands(behind: &[Token<'_>]) -> Option<String> {
    let mut depth = 0_usize;
    let mut operands = 1;
    for token in behind {
        match token {
            Token::Open => depth += 1,
            Token::Symbol(")") if depth == 1 => break,
            Token::Symbol(")") => depth = depth.saturating_sub(1),
            Token::Symbol(",") if depth == 1 => operands += 1,
            _ => {}
        }
    }
    (operands > OPERANDS_MAX).then(|| {
        format!(
            "The IN operator is provided with too many operands; number of operands: {operands}"
        )
    })
}

fn wrong_bounds(behind: &[Token<'_>], values: &Value) -> Option<String> {
    let [lower, Token::Word(and), upper, ..] = behind else {
        return None;
    };
    if !is(and, "AND") {
        return None;
    }
    for bound in [lower, upper] {
        if let Some(kind) = unordered(bound, values) {
            return Some(incorrect("operator", "BETWEEN", kind));
        }
    }
    let (lower, upper) = (typed(lower, values)?, typed(upper, values)?);
    let bounds = format!(
        "lower bound operand: AttributeValue: {{{}:{}}}, upper bound operand: AttributeValue: {{{}:{}}}",
        lower.0, lower.1, upper.0, upper.1
    );
    if lower.0 != upper.0 {
        return Some(format!(
            "The BETWEEN operator requires same data type for lower and upper bounds; {bounds}"
        ));
    }
    is_above(lower, upper).then(|| {
        format!(
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; {bounds}"
        )
    })
}

/// Whether one value is greater than another of its type. Numbers that a float cannot tell apart are equal here.
fn is_above((kind, one): (&str, &Value), (_, other): (&str, &Value)) -> bool {
    let (Some(one), Some(other)) = (one.as_str(), other.as_str()) else {
        return false;
    };
    let bytes = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    match kind {
        "N" => {
            matches!((one.parse::<f64>(), other.parse::<f64>()), (Ok(one), Ok(other)) if one > other)
        }
        "B" => bytes(one) > bytes(other),
        _ => one > other,
    }
}

/// Checks the second operand of a function.
fn wrong_operand(function: &str, behind: &[Token<'_>], values: &Value) -> Option<String> {
    let end = behind
        .iter()
        .position(|token| *token == Token::Symbol(")"))?;
    let operand = behind[..end].last()?;
    let (kind, value) = typed(operand, values)?;
    match function {
        "begins_with" if !["S", "B"].contains(&kind) => {
            Some(incorrect("operator or function", function, kind))
        }
        "attribute_type" if kind != "S" => Some(incorrect("operator or function", function, kind)),
        "attribute_type" => {
            let name = value.as_str().unwrap_or_default();
            (!TYPES.contains(&name)).then(|| {
                format!("Invalid attribute type name found; attribute type name: {name}, valid types: {{B,NULL,SS,BOOL,L,BS,N,NS,S,M}}")
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_that_aws_refuses_are_found_and_others_are_not() {
        let values = json!({
            ":s": {"S": "b"}, ":a": {"S": "a"}, ":n": {"N": "10"}, ":m": {"N": "9"}, ":t": {"BOOL": true}, ":l": {"L": []},
            ":b": {"B": "AQ=="}, ":c": {"B": "AA=="}, ":x": {"S": "X"}, ":type": {"S": "BOOL"},
        });
        let many = |count: usize| format!("a IN ({})", vec![":n"; count].join(", "));
        let long = |count: usize| vec!["a = :n"; count].join(" OR ");
        for (expression, is_right) in [
            ("a < :t", false),
            (":l >= a", false),
            ("a <= :s AND b > :n", true),
            ("a = :t OR a <> :l", true),
            ("a <> :t", true),
            ("a BETWEEN :m AND :n", true),
            ("a BETWEEN :n AND :n", true),
            ("a between :n and :m", false),
            ("a BETWEEN :s AND :a", false),
            ("a BETWEEN :b AND :c", false),
            ("a BETWEEN :c AND :b", true),
            ("a BETWEEN :s AND :n", false),
            ("a BETWEEN :t AND :t", false),
            ("a BETWEEN b AND c", true),
            ("begins_with(a, :n)", false),
            ("begins_with(a, :s) AND contains(a, :t)", true),
            ("attribute_type(a, :x)", false),
            ("attribute_type(a, :n)", false),
            ("attribute_type(a, :type)", true),
            ("size(a) > :n", true),
            (many(100).as_str(), true),
            (many(101).as_str(), false),
            (long(150).as_str(), true),
            (long(151).as_str(), false),
        ] {
            let request =
                json!({"FilterExpression": expression, "ExpressionAttributeValues": values});
            assert_eq!(problem(&request).is_none(), is_right, "{expression}");
        }
    }
}
