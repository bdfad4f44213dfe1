//! Fuzz target: the cursor of a listing.

use fuzz::fuzz;
use shared::tenant::TenantId;

use super::page::Cursor;

#[test]
fn a_cursor_is_a_position_that_fits_a_key_or_a_400() {
    let tenant: TenantId = "tenant-1".parse().expect("valid");
    let own = Cursor {
        by_id: "0193a5c0-0000-7000-8000-000000000000".to_owned(),
        by_time: "0001732000000#id".to_owned(),
    };
    let text = own.to_text(&tenant);
    fuzz("listing-cursor", &[&text], |input| match Cursor::parse(&tenant, &String::from_utf8_lossy(input)) {
        Ok(cursor) => {
            assert!(cursor.by_id.len() <= 1024 && cursor.by_time.len() <= 1024);
            assert_eq!(Cursor::parse(&tenant, &cursor.to_text(&tenant)), Ok(cursor.clone()));
            format!("{} {}", cursor.by_id.is_empty(), cursor.by_time.is_empty())
        }
        Err(error) => {
            assert_eq!(error.status(), 400);
            error.code().to_owned()
        }
    });
}
