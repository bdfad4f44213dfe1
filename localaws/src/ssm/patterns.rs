//! Java's syntax of regular expressions, in which AWS reads an `AllowedPattern`, written for `fancy_regex`. Pure.
//!
//! Java's classes are ASCII, `\Q…\E` quotes, `\0` begins an octal number, and a `{` that repeats nothing is an error.

use std::iter::Peekable;
use std::str::Chars;

/// POSIX classes and those of `java.lang.Character`, each with the inside of a class.
const CLASSES: [(&str, &str); 15] = [
    ("ASCII", r"\x00-\x7f"),
    ("Alnum", "A-Za-z0-9"),
    ("Alpha", "A-Za-z"),
    ("Blank", r" \t"),
    ("Cntrl", r"\x00-\x1f\x7f"),
    ("Digit", "0-9"),
    ("Graph", "!-~"),
    ("Lower", "a-z"),
    ("Print", " -~"),
    ("Punct", r"!-/:-@\[-`{-~"),
    ("Space", r" \t\n\x0b\f\r"),
    ("Upper", "A-Z"),
    ("XDigit", "0-9A-Fa-f"),
    ("javaLowerCase", r"\p{Lowercase}"),
    ("javaUpperCase", r"\p{Uppercase}"),
];
const HORIZONTAL: &str = r" \t\xa0\x{1680}\x{180e}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}";
const VERTICAL: &str = r"\n\x0b\f\r\x85\x{2028}\x{2029}";

/// Returns the pattern for `fancy_regex`; `None` for one that Java refuses.
pub(super) fn translate(pattern: &str) -> Option<String> {
    let mut rest = pattern.chars().peekable();
    let mut written = String::with_capacity(pattern.len());
    let mut depth = 0_usize;
    while let Some(it) = rest.next() {
        match it {
            '\\' => escape(&mut rest, &mut written)?,
            '[' => {
                depth += 1;
                written.push(it);
            }
            ']' => {
                depth = depth.saturating_sub(1);
                written.push(it);
            }
            '(' if depth == 0 => {
                let mut ahead = rest.clone();
                if (ahead.next(), ahead.next()) == (Some('?'), Some('#')) {
                    return None;
                }
                written.push(it);
            }
            '{' if depth == 0 => repetition(&mut rest, &mut written)?,
            _ => written.push(it),
        }
    }
    Some(written)
}

/// Reads what follows a backslash.
fn escape(rest: &mut Peekable<Chars<'_>>, written: &mut String) -> Option<()> {
    let mut class = |inside: &str, is_negated: bool| {
        let caret = if is_negated { "^" } else { "" };
        written.push_str(&format!("[{caret}{inside}]"));
    };
    match rest.next()? {
        'd' => class("0-9", false),
        'D' => class("0-9", true),
        'w' => class("A-Za-z0-9_", false),
        'W' => class("A-Za-z0-9_", true),
        's' => class(r" \t\n\x0b\f\r", false),
        'S' => class(r" \t\n\x0b\f\r", true),
        'h' => class(HORIZONTAL, false),
        'H' => class(HORIZONTAL, true),
        'v' => class(VERTICAL, false),
        'V' => class(VERTICAL, true),
        sign @ ('p' | 'P') if rest.peek() == Some(&'{') => {
            let name: String = rest.by_ref().skip(1).take_while(|it| *it != '}').collect();
            match CLASSES.iter().find(|(known, _)| *known == name) {
                Some((_, inside)) => class(inside, sign == 'P'),
                None => written.push_str(&format!("\\{sign}{{{}}}", name.trim_start_matches("Is"))),
            }
        }
        '0' => {
            let mut digits = String::new();
            while let Some(digit) = rest.next_if(|it| ('0'..='7').contains(it)) {
                digits.push(digit);
                let is_high = digits.starts_with(|first| first > '3');
                if digits.len() == if is_high { 2 } else { 3 } {
                    break;
                }
            }
            let number = u32::from_str_radix(&digits, 8).ok()?;
            written.push_str(&format!(r"\x{{{number:x}}}"));
        }
        'Q' => {
            let text: String = rest.by_ref().collect();
            let (quoted, after) = text.split_once(r"\E").unwrap_or((&text, ""));
            written.push_str(&fancy_regex::escape(quoted));
            written.push_str(&translate(after)?);
        }
        other => {
            written.push('\\');
            written.push(other);
        }
    }
    Some(())
}

/// Reads what follows a `{`: `2`, `2,` or `2,3`, and the end.
fn repetition(rest: &mut Peekable<Chars<'_>>, written: &mut String) -> Option<()> {
    if !rest.clone().any(|it| it == '}') {
        return None;
    }
    let inside: String = rest.by_ref().take_while(|it| *it != '}').collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let is_right = match inside.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(&inside),
    };
    written.push_str(&format!("{{{inside}}}"));
    is_right.then_some(())
}
