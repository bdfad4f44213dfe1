//! One line that tells what takes so long: on a terminal, for people, gone at the end.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::arguments::Output;
use crate::apply::{OnStep, Step};

/// Back to the line's begin, and what was there is gone.
const CLEAR: &str = "\r\x1b[2K";

/// The line; cleared when it is dropped.
#[derive(Clone)]
pub(super) struct Progress(Option<Arc<Line>>);

struct Line {
    begun: Instant,
    // Steps come from several threads.
    stderr: Mutex<io::Stderr>,
}

impl Progress {
    /// A line where somebody sees it.
    pub(super) fn new(output: Output) -> Self {
        let is_seen = output == Output::Text && io::stderr().is_terminal();
        Self(is_seen.then(|| {
            Arc::new(Line {
                begun: Instant::now(),
                stderr: Mutex::new(io::stderr()),
            })
        }))
    }

    /// Replaces the line.
    pub(super) fn show(&self, what: &str) {
        if let Some(line) = &self.0 {
            line.write(&format!(
                "{CLEAR}{:4.1} s  {what}",
                line.begun.elapsed().as_secs_f64()
            ));
        }
    }

    /// What tells of an apply's steps.
    pub(super) fn on_step(&self) -> OnStep {
        let progress = self.clone();
        Arc::new(move |step| progress.show(&words(step)))
    }
}

impl Line {
    fn write(&self, text: &str) {
        let mut stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        // A terminal that is gone sees no progress.
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

fn words(step: Step) -> String {
    match step {
        Step::Fetching => "fetching".to_owned(),
        Step::Planning => "planning".to_owned(),
        Step::Pushing => "pushing".to_owned(),
        Step::Again(attempt) => format!("the branch moved on: planning again (attempt {attempt})"),
        Step::Searching => "the push was not answered: looking whether it arrived".to_owned(),
    }
}
