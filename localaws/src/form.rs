//! Request form of the Query protocol: `application/x-www-form-urlencoded`.

use std::collections::BTreeMap;

/// Parameters per request (ours); STS with 50 session tags needs about 110.
const PARAMETERS_MAX: usize = 1_000;

/// The parameters of a form by name. If a name repeats, the last value counts.
#[derive(Debug, Default)]
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Parses a form; invalid percent-encoding is kept literally.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .take(PARAMETERS_MAX);
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = || {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            u8::from_str_radix(digits, 16).ok()
        };
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match escaped() {
                Some(decoded) => {
                    bytes.push(decoded);
                    rest = &tail[2..];
                }
                None => bytes.push(b'%'),
            },
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        let form = Form::parse(
            "Action=AssumeRole&Tags.member.1.Value=a%20b+c%2F%C3%A4&empty=&bad=%zz&flag&&",
        );
        assert_eq!(form.get("Action"), Some("AssumeRole"));
        assert_eq!(form.get("Tags.member.1.Value"), Some("a b c/ä"));
        assert_eq!(form.get("empty"), Some(""));
        assert_eq!(form.get("bad"), Some("%zz"));
        assert_eq!(form.get("flag"), Some(""));
        assert_eq!(form.get("missing"), None);
    }
}
