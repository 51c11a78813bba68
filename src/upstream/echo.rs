//! The responder that needs nothing: what came goes back.

use super::{Reply, Responder};

/// Answers with the text itself.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

impl Responder for Echo {
    fn respond(&self, text: String, reply: Reply) {
        reply.chunk(text.clone());
        reply.done(text, 0);
    }
}
