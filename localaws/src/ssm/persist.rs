//! Parameters in SQLite: a row per version, and a row of tags per parameter with tags.

use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, params};

use super::parameters::{Parameters, Version};
use crate::store::{self, LoadError, column};

pub(crate) const SCHEMA: &str = "
    CREATE TABLE parameter_versions (
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (name, version)
    ) STRICT;
    CREATE TABLE parameter_tags (name TEXT PRIMARY KEY, tags TEXT NOT NULL) STRICT;
";

/// A change of parameters for the store.
#[derive(Debug)]
pub(crate) enum ParameterChange {
    /// Adds a version, and deletes the version `dropped`.
    Put {
        name: String,
        version: Box<Version>,
        dropped: Option<u64>,
    },
    /// Replaces a version, whose labels changed.
    Relabel {
        name: String,
        version: Box<Version>,
    },
    /// Replaces the tags of a parameter.
    Tag {
        name: String,
        tags: BTreeMap<String, String>,
    },
    Delete(String),
}

impl store::Write for ParameterChange {
    fn apply(&self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        match self {
            Self::Put {
                name,
                version,
                dropped,
            } => {
                tx.prepare_cached("INSERT INTO parameter_versions VALUES (?1, ?2, ?3)")?
                    .execute(params![name, column(version.version), data_of(version)])?;
                if let Some(dropped) = dropped {
                    tx.prepare_cached(
                        "DELETE FROM parameter_versions WHERE name = ?1 AND version = ?2",
                    )?
                    .execute(params![name, column(*dropped)])?;
                }
            }
            Self::Relabel { name, version } => {
                tx.prepare_cached(
                    "UPDATE parameter_versions SET data = ?3 WHERE name = ?1 AND version = ?2",
                )?
                .execute(params![
                    name,
                    column(version.version),
                    data_of(version)
                ])?;
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

fn data_of(version: &Version) -> String {
    serde_json::to_string(version).expect("a version is JSON")
}

/// Loads all parameters.
///
/// # Errors
/// SQLite errors; an unreadable row.
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
        parameters.load(name, version);
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
