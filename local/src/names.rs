//! Names and ARNs of the embedded endpoint's resources. They are derived, so they are the same in every run.

use tenantctl::data::moves::ConsumerHome;
use tenantry_process::arn::TableArn;
use tenantry_tenancy::environment::Environment;
use uuid::Uuid;

use crate::topology::App;

/// Region of the embedded endpoint.
pub(crate) const REGION: &str = "us-east-1";
/// Account of the embedded endpoint.
pub(crate) const ACCOUNT: &str = "000000000000";
/// Characters of the suffix of a name.
const SUFFIX_CHARS: usize = 3;

/// Apps whose data has a home.
pub(crate) const WITH_DATA: [App; 2] = [App::Consumer, App::Payments];

/// Returns `<app>-<owner>-<suffix>`; the suffix is derived from the owner.
pub(crate) fn resource_name(app: App, owner: &Environment) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // The digest must never change: an existing data folder has these names.
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, owner.as_str().as_bytes());
    let suffix: String = digest.as_bytes()[..SUFFIX_CHARS]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 36)]))
        .collect();
    format!("{}-{owner}-{suffix}", app.as_str())
}

/// Queue and table of an environment's consumer.
pub(crate) fn consumer_home(owner: &Environment) -> ConsumerHome {
    ConsumerHome {
        queue: consumer_queue_arn(owner)
            .parse()
            .expect("a derived name is a queue's name"),
        table: table_arn(&resource_name(App::Consumer, owner))
            .parse()
            .expect("a derived name is a table's name"),
    }
}

/// An environment's payments table.
pub(crate) fn payments_home(owner: &Environment) -> TableArn {
    payments_arn(owner)
        .parse()
        .expect("a derived name is a table's name")
}

pub(crate) fn consumer_queue_arn(owner: &Environment) -> String {
    queue_arn(&resource_name(App::Consumer, owner))
}

pub(crate) fn payments_arn(owner: &Environment) -> String {
    table_arn(&resource_name(App::Payments, owner))
}

pub(crate) fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

pub(crate) fn table_arn(name: &str) -> String {
    format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_contract_and_are_the_same_in_every_run() {
        let pool: Environment = "pool-1".parse().expect("valid");
        let name = resource_name(App::Consumer, &pool);
        assert_eq!(name, resource_name(App::Consumer, &pool));
        let suffix = name
            .strip_prefix("consumer-pool-1-")
            .expect("the owner is in the name");
        assert_eq!(suffix.len(), 3);
        assert!(
            suffix
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
        assert_ne!(
            name,
            resource_name(App::Consumer, &"tenant-1".parse().expect("valid"))
        );
        assert!(resource_name(App::Payments, &pool).starts_with("payments-pool-1-"));
    }
}
