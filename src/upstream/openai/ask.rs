//! One question from the queue to its end: leave of the breaker, the context, the request with its retries, the pieces passed on. What
//! is retried ends before the first piece is passed on, so nobody hears a beginning twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::OpenAiSettings;
use super::stream::Parts;
use super::wire::{Part, Request};
use crate::resilience::{Breaker, CircuitOpen, RetryPolicy};
use crate::telemetry::{Span, SpanKind};
use crate::upstream::error::Verdict;
use crate::upstream::{History, HistoryError, Pending, Question, Reply, RespondError, Role, Scope, Turn};

/// How often it is looked whether the client is still there.
const GONE_LOOK: Duration = Duration::from_millis(250);
/// What the history may take: an answer without context, or one that is not remembered, is better than none.
const HISTORY_PATIENCE: Duration = Duration::from_secs(1);

/// What every question needs.
pub(super) struct Asker {
    pub(super) settings: OpenAiSettings,
    pub(super) url: reqwest::Url,
    pub(super) client: reqwest::Client,
    pub(super) history: Arc<dyn History>,
    pub(super) breaker: Arc<Breaker>,
}

/// An answer of which the first piece is there.
struct Begun {
    first: Part,
    parts: Parts,
}

impl Asker {
    /// Answers a question, or says why not.
    pub(super) async fn answer(&self, question: Question, reply: Reply) {
        let mut span = Span::start(SpanKind::Client, &format_args!("chat {}", self.settings.model), None);
        span.text("gen_ai.request.model", &self.settings.model);
        span.text("voxgate.session_id", &question.session_id);
        let outcome = tokio::select! {
            outcome = self.within_time(&question, &reply) => outcome,
            () = gone(&reply) => {
                span.fail("client_left");
                tracing::debug!("a question was given up: its client has left");
                return;
            }
        };
        match outcome {
            Ok(text) => reply.finish(text),
            Err(error) => {
                span.fail(error.to_protocol().code.name());
                if matches!(error, RespondError::LeftAlone { .. }) {
                    tracing::debug!(%error, "a text was not answered");
                } else {
                    tracing::warn!(%error, "a text was not answered");
                }
                reply.fail(&error);
            }
        }
    }

    async fn within_time(&self, question: &Question, reply: &Reply) -> Result<String, RespondError> {
        let after = self.settings.timeout;
        let deadline = reply.asked() + after;
        let given = deadline.saturating_duration_since(Instant::now());
        if given.is_zero() {
            return Err(RespondError::TimedOut { after });
        }
        let permit = self.breaker.permit().map_err(|CircuitOpen { retry_after, .. }| RespondError::LeftAlone {
            retry_after: retry_after.max(Duration::from_millis(1)),
        })?;
        let policy = if permit.is_probe() { self.settings.retry.once() } else { self.settings.retry };
        let scope = question.scope();
        let asked = async {
            let body = self.request(question, &scope).await;
            let begun = self.begin(&body, policy, deadline).await?;
            self.pass_on(begun, reply).await
        };
        let outcome =
            tokio::time::timeout_at(deadline.into(), asked).await.unwrap_or(Err(RespondError::TimedOut { after }));
        match verdict(&outcome, given, after) {
            Verdict::Works => permit.success(),
            Verdict::Fails => permit.failure(),
            Verdict::Unknown => drop(permit),
        }
        if let Ok(text) = &outcome {
            self.remember(question, &scope, text).await;
        }
        outcome
    }

    async fn request(&self, question: &Question, scope: &Scope) -> Bytes {
        let mut messages = patiently(self.history.context(scope, self.settings.context)).await.unwrap_or_default();
        messages.push(Turn { role: Role::User, text: question.text.clone() });
        let request = Request { model: &self.settings.model, stream: true, messages: &messages };
        serde_json::to_vec(&request).expect("strings and lists become JSON").into()
    }

    /// Asks until the first piece of an answer is there.
    async fn begin(&self, body: &Bytes, policy: RetryPolicy, deadline: Instant) -> Result<Begun, RespondError> {
        policy
            .run(deadline, RespondError::retry, |number| async move {
                let begun = self.attempt(body.clone()).await;
                if let Err(error) = &begun {
                    tracing::debug!(number, %error, "asking the responder");
                }
                begun
            })
            .await
    }

    async fn attempt(&self, body: Bytes) -> Result<Begun, RespondError> {
        let sent = self.client.post(self.url.clone()).body(body).send().await;
        let response = sent.map_err(|e| if e.is_connect() { RespondError::Connect } else { RespondError::BrokeOff })?;
        if !response.status().is_success() {
            return Err(RespondError::Status {
                status: response.status().as_u16(),
                retry_after: retry_after(response.headers()),
            });
        }
        let mut parts = Parts::of(response, self.settings.stall)?;
        loop {
            match parts.next().await? {
                Some(first) if first.text.is_empty() => {}
                Some(first) => return Ok(Begun { first, parts }),
                None => return Ok(Begun { first: Part::default(), parts: Parts::Document(None) }),
            }
        }
    }

    /// Hands the pieces on as they come; those the client has no room for are joined.
    async fn pass_on(&self, begun: Begun, reply: &Reply) -> Result<String, RespondError> {
        let Begun { first, mut parts } = begun;
        let (mut text, mut held) = (String::new(), String::new());
        let mut next = Ok(Some(first));
        let ended = loop {
            match next {
                Ok(Some(part)) if text.len() + part.text.len() > self.settings.answer_bytes => {
                    break Err(RespondError::TooLong { max_bytes: self.settings.answer_bytes });
                }
                Ok(Some(part)) => {
                    text.push_str(&part.text);
                    held.push_str(&part.text);
                    if !held.is_empty() && !reply.is_congested() {
                        reply.chunk(std::mem::take(&mut held));
                    }
                }
                Ok(None) => break Ok(()),
                Err(e) => break Err(e),
            }
            next = parts.next().await;
        };
        if !held.is_empty() {
            reply.chunk(held);
        }
        ended.map(|()| text)
    }

    /// Before the answer is told to be whole: a next question may follow at once and needs it.
    async fn remember(&self, question: &Question, scope: &Scope, answer: &str) {
        let exchange = vec![
            Turn { role: Role::User, text: question.text.clone() },
            Turn { role: Role::Assistant, text: answer.to_owned() },
        ];
        patiently(self.history.append(scope, exchange)).await;
    }
}

/// What the history gives within its time.
async fn patiently<T>(pending: Pending<'_, Result<T, HistoryError>>) -> Option<T> {
    match tokio::time::timeout(HISTORY_PATIENCE, pending).await {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            tracing::warn!(%error, "answering without the history");
            None
        }
        Err(_) => {
            tracing::warn!(patience_ms = HISTORY_PATIENCE.as_millis(), "answering without the history: it is too slow");
            None
        }
    }
}

/// What an outcome says of a service that was `given` that much of the time for an answer. Where most of it passed in our own queue,
/// many are asking: to leave the service alone for that would make it worse.
fn verdict(outcome: &Result<String, RespondError>, given: Duration, whole: Duration) -> Verdict {
    match outcome {
        Ok(_) => Verdict::Works,
        Err(RespondError::TimedOut { .. }) if given < whole / 2 => Verdict::Unknown,
        Err(e) => e.verdict(),
    }
}

/// Ends when the client has left.
async fn gone(reply: &Reply) {
    while !reply.is_gone() {
        tokio::time::sleep(GONE_LOOK).await;
    }
}

/// `Retry-After` in seconds. Its other form, a date, is left alone: it would hang a timer on the wall clock, and these services send seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u32 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers)
    }

    #[test]
    fn a_service_is_not_blamed_for_time_spent_in_our_queue() {
        let whole = Duration::from_secs(30);
        let late = Err(RespondError::TimedOut { after: whole });
        assert_eq!(verdict(&late, Duration::from_secs(15), whole), Verdict::Fails);
        assert_eq!(verdict(&late, Duration::from_secs(14), whole), Verdict::Unknown);
        assert_eq!(verdict(&Err(RespondError::BrokeOff), Duration::from_secs(1), whole), Verdict::Fails);
        assert_eq!(verdict(&Ok(String::new()), Duration::from_secs(1), whole), Verdict::Works);
    }

    #[test]
    fn retry_after_is_a_number_of_seconds() {
        assert_eq!((header("7"), header(" 0 ")), (Some(Duration::from_secs(7)), Some(Duration::ZERO)));
        for other in ["Fri, 31 Dec 2100 23:59:59 GMT", "soon", "-1", ""] {
            assert_eq!(header(other), None, "{other}");
        }
    }
}
