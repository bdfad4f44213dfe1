//! Settings of tables in SQLite, one row per table.

use rusqlite::{Connection, Transaction, params};

use super::settings::{AllSettings, RECOVERY_DAYS_DEFAULT, TableSettings};
use crate::store::{self, LoadError};

/// Earlier versions stored only a flag, as a row in `recoverable_tables`. The first change of a table's settings deletes
/// this row.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE recoverable_tables (name TEXT PRIMARY KEY) STRICT;
    CREATE TABLE table_settings (name TEXT PRIMARY KEY, settings TEXT NOT NULL) STRICT;
";

/// Tables that files of earlier versions lack.
pub(crate) const ADDED: &str = "
    CREATE TABLE IF NOT EXISTS table_settings (name TEXT PRIMARY KEY, settings TEXT NOT NULL) STRICT;
";

/// A change of a table's settings for the store.
#[derive(Debug)]
pub(crate) struct SettingsChange {
    pub(crate) table: String,
    /// `None` also for a deleted table.
    pub(crate) settings: Option<TableSettings>,
}

impl store::Write for SettingsChange {
    fn apply(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        tx.prepare_cached("DELETE FROM recoverable_tables WHERE name = ?1")?
            .execute([&self.table])?;
        match &self.settings {
            Some(settings) => {
                let settings = serde_json::to_string(settings).expect("settings are JSON");
                tx.prepare_cached("INSERT OR REPLACE INTO table_settings VALUES (?1, ?2)")?
                    .execute(params![self.table, settings])?;
            }
            None => {
                tx.prepare_cached("DELETE FROM table_settings WHERE name = ?1")?
                    .execute([&self.table])?;
            }
        }
        Ok(())
    }
}

/// Loads the settings of all tables.
///
/// # Errors
/// SQLite errors; an unreadable row.
pub(crate) fn load(conn: &Connection) -> Result<AllSettings, LoadError> {
    let mut all = AllSettings::new();
    let mut statement = conn.prepare("SELECT name FROM recoverable_tables")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let settings = TableSettings {
            recovery_days: Some(RECOVERY_DAYS_DEFAULT),
            ..TableSettings::default()
        };
        all.insert(row.get(0)?, settings);
    }
    let mut statement = conn.prepare("SELECT name, settings FROM table_settings")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let settings: String = row.get(1)?;
        let settings = serde_json::from_str(&settings)
            .map_err(|error| LoadError::Row(format!("settings of table {name}: {error}")))?;
        all.insert(name, settings);
    }
    Ok(all)
}
