//! One progress line on a terminal, cleared at the end.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use super::arguments::Output;
use crate::apply::{ApplyStep, OnStep};

/// Moves to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[2K";

#[derive(Clone)]
pub(super) struct Progress(Option<Arc<Line>>);

struct Line {
    begun: Instant,
    // Steps come from several threads.
    stderr: Mutex<io::Stderr>,
}

impl Progress {
    /// Creates the line, if standard error is a terminal and the output is text.
    pub(super) fn new(output: Output) -> Self {
        let is_seen = output == Output::Text && io::stderr().is_terminal();
        Self(is_seen.then(|| {
            Arc::new(Line {
                begun: Instant::now(),
                stderr: Mutex::new(io::stderr()),
            })
        }))
    }

    pub(super) fn show(&self, what: &str) {
        if let Some(line) = &self.0 {
            line.write(&format!(
                "{CLEAR}{:4.1} s  {what}",
                line.begun.elapsed().as_secs_f64()
            ));
        }
    }

    /// Returns a callback that shows the steps of an apply.
    pub(super) fn on_step(&self) -> OnStep {
        let progress = self.clone();
        Arc::new(move |step| progress.show(&describe(step)))
    }
}

impl Line {
    fn write(&self, text: &str) {
        let mut stderr = self.stderr.lock();
        // A failed write to a closed terminal loses the progress line alone.
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.write(CLEAR);
    }
}

fn describe(step: ApplyStep) -> String {
    match step {
        ApplyStep::Fetching => "fetching".to_owned(),
        ApplyStep::Planning => "planning".to_owned(),
        ApplyStep::Pushing => "pushing".to_owned(),
        ApplyStep::Replanning(attempt) => {
            format!("the branch moved: planning again (attempt {attempt})")
        }
        ApplyStep::Searching => "the push was not answered: searching for its commit".to_owned(),
    }
}
