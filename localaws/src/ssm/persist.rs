//! Parameters in SQLite: a row per version, a row of tags per parameter that has some.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, params};

use super::parameters::{Parameters, Version};
use crate::store::{self, LoadError, column};

/// The tables of this module.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE parameter_versions (
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (name, version)
    ) STRICT;
    CREATE TABLE parameter_tags (name TEXT PRIMARY KEY, tags TEXT NOT NULL) STRICT;
";

/// One step of the state in the store.
#[derive(Debug)]
pub(crate) enum Change {
    /// A version is new; `dropped` had to go for it.
    Put {
        name: String,
        version: Box<Version>,
        dropped: Option<u64>,
    },
    /// A parameter has these tags.
    Tag {
        name: String,
        tags: BTreeMap<String, String>,
    },
    /// A parameter is gone.
    Delete(String),
}

impl store::Change for Change {
    fn apply(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        match self {
            Self::Put {
                name,
                version,
                dropped,
            } => {
                let data = serde_json::to_string(version).expect("a version is JSON");
                tx.prepare_cached("INSERT INTO parameter_versions VALUES (?1, ?2, ?3)")?
                    .execute(params![name, column(version.version), data])?;
                if let Some(dropped) = dropped {
                    tx.prepare_cached(
                        "DELETE FROM parameter_versions WHERE name = ?1 AND version = ?2",
                    )?
                    .execute(params![name, column(*dropped)])?;
                }
            }
            Self::Tag { name, tags } => {
                let tags = serde_json::to_string(tags).expect("a map of strings is JSON");
                tx.prepare_cached("INSERT OR REPLACE INTO parameter_tags VALUES (?1, ?2)")?
                    .execute(params![name, tags])?;
            }
            Self::Delete(name) => {
                tx.prepare_cached("DELETE FROM parameter_versions WHERE name = ?1")?
                    .execute([name])?;
                tx.prepare_cached("DELETE FROM parameter_tags WHERE name = ?1")?
                    .execute([name])?;
            }
        }
        Ok(())
    }
}

/// Reads all parameters.
///
/// # Errors
/// What SQLite answers, or a row this version cannot read.
pub(crate) fn load(conn: &Connection) -> Result<Parameters, LoadError> {
    let mut parameters = Parameters::default();
    let mut statement =
        conn.prepare("SELECT name, data FROM parameter_versions ORDER BY name, version")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let data: String = row.get(1)?;
        let version = serde_json::from_str(&data)
            .map_err(|error| LoadError::Row(format!("parameter {name}: {error}")))?;
        parameters.adopt(name, version);
    }
    let mut statement = conn.prepare("SELECT name, tags FROM parameter_tags")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let tags: String = row.get(1)?;
        let tags = serde_json::from_str(&tags)
            .map_err(|error| LoadError::Row(format!("tags of parameter {name}: {error}")))?;
        if let Some(place) = parameters.tags_mut(&name) {
            *place = tags;
        }
    }
    Ok(parameters)
}
