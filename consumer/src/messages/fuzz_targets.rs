//! Fuzz target: the cursor of a listing.

use bolero::check;
use tenantry_tenancy::generation::Owner;
use tenantry_tenancy::tenant::TenantId;

use super::page::Cursor;

/// Generated inputs per test run, beside the kept ones.
const GENERATED: usize = 20_000;

#[test]
fn a_cursor_is_a_position_that_fits_a_key_or_a_400() {
    let tenant = Owner::from("tenant-1".parse::<TenantId>().expect("valid"));
    check!(name = "listing-cursor")
        .with_iterations(GENERATED)
        .for_each(
            |input: &[u8]| match Cursor::parse(&tenant, &String::from_utf8_lossy(input)) {
                Ok(cursor) => {
                    assert!(cursor.by_id.len() <= 1024 && cursor.by_time.len() <= 1024);
                    assert_eq!(
                        Cursor::parse(&tenant, &cursor.to_text(&tenant)),
                        Ok(cursor.clone())
                    );
                }
                Err(error) => assert_eq!(error.status(), 400),
            },
        );
}
