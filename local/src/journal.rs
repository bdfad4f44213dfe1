//! The journal of a move: a parameter of the tenant keeps it over a crash.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use tenantry_tenancy::environment::Environment;

use crate::topology::App;

/// A move that began: former and new environment of each app whose data moves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Journal {
    pub(crate) changes: BTreeMap<App, (Environment, Environment)>,
    pub(crate) leave_data: bool,
}

/// Word of a journal whose move leaves the data.
const LEAVE_DATA: &str = "leave-data";

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (app, (from, to)) in &self.changes {
            write!(f, "{}={from}>{to} ", app.as_str())?;
        }
        f.write_str(if self.leave_data { LEAVE_DATA } else { "data" })
    }
}

impl FromStr for Journal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut journal = Self::default();
        for word in text.split_whitespace() {
            if word == LEAVE_DATA {
                journal.leave_data = true;
            } else if let Some((name, change)) = word.split_once('=') {
                let app = App::ALL.into_iter().find(|app| app.as_str() == name);
                let environments = change
                    .split_once('>')
                    .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
                let (Some(app), Some(environments)) = (app, environments) else {
                    return Err(format!("{word:?} is no change of a home"));
                };
                journal.changes.insert(app, environments);
            }
        }
        Ok(journal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::WITH_DATA;

    #[test]
    fn an_unfinished_move_is_read_as_it_was_written() {
        let (silo, pool): (Environment, Environment) = (
            "tenant-1".parse().expect("valid"),
            "pool-1".parse().expect("valid"),
        );
        for leave_data in [false, true] {
            let changes = WITH_DATA.map(|app| (app, (silo.clone(), pool.clone())));
            let journal = Journal {
                changes: changes.into(),
                leave_data,
            };
            assert_eq!(journal.to_string().parse(), Ok(journal));
        }
        assert!("consumer=tenant-1".parse::<Journal>().is_err());
    }
}
