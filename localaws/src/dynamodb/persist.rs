//! Recovery flags of tables in SQLite.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction};

use crate::store::{self, LoadError};

pub(crate) const SCHEMA: &str = "CREATE TABLE recoverable_tables (name TEXT PRIMARY KEY) STRICT;";

/// A change of a recovery flag for the store.
#[derive(Debug)]
pub(crate) enum RecoveryChange {
    Recoverable(String),
    /// Also for a deleted table.
    NotRecoverable(String),
}

impl store::Write for RecoveryChange {
    fn apply(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        match self {
            Self::Recoverable(name) => {
                tx.prepare_cached("INSERT OR IGNORE INTO recoverable_tables VALUES (?1)")?
                    .execute([name])?;
            }
            Self::NotRecoverable(name) => {
                tx.prepare_cached("DELETE FROM recoverable_tables WHERE name = ?1")?
                    .execute([name])?;
            }
        }
        Ok(())
    }
}

pub(crate) fn load(conn: &Connection) -> Result<BTreeSet<String>, LoadError> {
    let mut statement = conn.prepare("SELECT name FROM recoverable_tables")?;
    let names = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(names)
}
