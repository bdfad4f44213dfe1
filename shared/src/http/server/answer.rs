//! A request in progress: from its head to the last byte of its answer that is handed to hyper.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::places::Place;

/// Its connection's place is busy until this is dropped.
pub(super) struct InProgress(Arc<Place>);

/// The body of its answer.
pub(super) struct AnswerBody {
    body: Body,
    _request: InProgress,
}

impl InProgress {
    pub(super) fn begin(place: &Arc<Place>) -> Self {
        place.begin();
        Self(Arc::clone(place))
    }

    /// The body, which is part of it.
    pub(super) fn with(self, body: Body) -> AnswerBody {
        AnswerBody {
            body,
            _request: self,
        }
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
