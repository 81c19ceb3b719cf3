//! How many requests of a connection have been answered to the end: what the connection itself cannot see of the framework above it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;

/// The count of one connection.
#[derive(Debug, Default)]
pub(in crate::http) struct Answers(Cell<u64>);

impl Answers {
    /// Answers whose last piece was given to the framework, or that were given up.
    pub(in crate::http) fn ended(&self) -> u64 {
        self.0.get()
    }
}

/// One request under way.
#[derive(Debug)]
pub(in crate::http) struct Answering(Rc<Answers>);

impl Answering {
    pub(in crate::http) fn begin(answers: &Rc<Answers>) -> Self {
        Self(Rc::clone(answers))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get() + 1);
    }
}

/// The body of an answer that is under way as long as this is.
pub(in crate::http) struct Counted {
    pub(in crate::http) body: BoxBody,
    pub(in crate::http) answering: Option<Answering>,
}

impl MessageBody for Counted {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let piece = Pin::new(&mut this.body).poll_next(context);
        if let Poll::Ready(None) = piece {
            this.answering = None;
        }
        piece
    }
}
