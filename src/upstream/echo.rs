//! The responder that needs nothing: what came goes back.

use super::{Question, Reply, Responder, ResponderStatus};

/// Answers with the text itself.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

impl Responder for Echo {
    fn respond(&self, question: Question, reply: Reply) {
        reply.chunk(question.text.clone());
        reply.finish(question.text);
    }

    fn status(&self) -> ResponderStatus {
        ResponderStatus { kind: "echo", waiting: 0, running: 0 }
    }
}
