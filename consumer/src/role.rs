//! The ARN of the IAM role that a pool's consumer assumes per tenant to list messages.

use std::str::FromStr;
use std::sync::Arc;

use tenantry_process::arn::{InvalidArn, parts};

/// Longest path and name of a role together (IAM: 512 and 64).
const MAX_ROLE_CHARS: usize = 576;
/// Digits of an AWS account id.
const ACCOUNT_DIGITS: usize = 12;

/// The ARN of an IAM role: `arn:<partition>:iam::<account>:role/<path and name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleArn(Arc<str>);

impl RoleArn {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleArn {
    type Err = InvalidArn;

    fn from_str(text: &str) -> Result<Self, InvalidArn> {
        parts(text)
            .filter(|arn| arn.service == "iam" && is_account(arn.account))
            .and_then(|arn| arn.resource.strip_prefix("role/"))
            .filter(|name| is_role(name))
            .map(|_| Self(text.into()))
            .ok_or_else(|| InvalidArn::new(text, "an IAM role"))
    }
}

fn is_account(text: &str) -> bool {
    text.len() == ACCOUNT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_role(name: &str) -> bool {
    let in_names = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte);
    (1..=MAX_ROLE_CHARS).contains(&name.len()) && !name.ends_with('/') && name.bytes().all(in_names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_whole_arn() {
        for good in [
            "arn:aws:iam::000000000000:role/reader-role-pool-1",
            "arn:aws-cn:iam::000000000000:role/a/b/c",
        ] {
            assert_eq!(good.parse::<RoleArn>().expect(good).as_str(), good);
        }
        for wrong in [
            "",
            "reader-role-pool-1",
            "arn:aws:iam::000000000000:role/",
            "arn:aws:iam::000000000000:role/a/",
            "arn:aws:iam::000000000000:user/a",
            "arn:aws:iam::1:role/a",
            "arn:aws:sts::000000000000:role/a",
            "arn:aws:iam::000000000000:role/a b",
        ] {
            assert!(wrong.parse::<RoleArn>().is_err(), "{wrong:?}");
        }
    }
}
