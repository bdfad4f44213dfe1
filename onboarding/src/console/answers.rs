//! Answers of the requests that people send from a tenant's page, kept until the page that shows them is read.

use std::collections::VecDeque;

use parking_lot::Mutex;
use uuid::Uuid;

/// Answers kept; the oldest is dropped first.
const MAX_KEPT: usize = 64;

/// The answer of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) tenant: String,
    /// Which of the page's requests it was.
    pub(super) request: &'static str,
    /// Status line and time taken, or why there was no answer.
    pub(super) summary: String,
    pub(super) is_success: bool,
    /// Whether the tenant's services ask for a token.
    pub(super) needs_token: bool,
    pub(super) body: String,
}

#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<VecDeque<(Uuid, Answer)>>);

impl Answers {
    /// Keeps an answer and returns its id.
    pub(super) fn keep(&self, answer: Answer) -> Uuid {
        let id = Uuid::new_v4();
        let mut kept = self.0.lock();
        if kept.len() == MAX_KEPT {
            kept.pop_front();
        }
        kept.push_back((id, answer));
        id
    }

    /// Returns an answer of this tenant.
    pub(super) fn get(&self, id: Uuid, tenant: &str) -> Option<Answer> {
        let kept = self.0.lock();
        let (_, answer) = kept.iter().find(|(kept, _)| *kept == id)?;
        (answer.tenant == tenant).then(|| answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(tenant: &str) -> Answer {
        Answer {
            tenant: tenant.to_owned(),
            request: "ask",
            summary: "200".to_owned(),
            is_success: true,
            needs_token: false,
            body: String::new(),
        }
    }

    #[test]
    fn an_answer_is_shown_on_its_tenants_page_alone() {
        let answers = Answers::default();
        let id = answers.keep(answer("tenant-1"));
        assert_eq!(answers.get(id, "tenant-1"), Some(answer("tenant-1")));
        assert_eq!(answers.get(id, "tenant-2"), None);
    }

    #[test]
    fn the_oldest_answer_is_dropped_first() {
        let answers = Answers::default();
        let first = answers.keep(answer("tenant-1"));
        for _ in 0..MAX_KEPT {
            answers.keep(answer("tenant-1"));
        }
        assert_eq!(answers.get(first, "tenant-1"), None);
    }
}
