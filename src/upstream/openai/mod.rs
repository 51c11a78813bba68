//! A responder behind the chat completions interface that OpenAI, Ollama, vLLM and llama.cpp's server speak. Questions wait in one
//! bounded queue; a worker on the services' runtime asks them, some at once. Knows no WebSocket and no store.

mod ask;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{ContextBounds, History, Question, Reply, RespondError, Responder, ResponderStatus};
use crate::config::{ResponderConfig, Secret};
use crate::resilience::{Breaker, RetryPolicy};

/// Questions that wait (policy: refuse with `OVERLOADED`): at eight at a time and a few seconds each, the last of them waits about
/// as long as a person does.
const QUEUE_MAX: usize = 64;
/// Questions asked at once: what a local model server takes before each gets slower.
const CONCURRENCY: usize = 8;
/// Time in which something must come once an answer has begun.
const STALL: Duration = Duration::from_secs(15);
/// Time for TCP and TLS; the rest of the question's time is for retries.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A book chapter: no answer anybody listens to is longer.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How questions are asked. What the configuration does not say has the defaults of this module.
#[derive(Clone, Debug)]
pub struct OpenAiSettings {
    /// Address below which `chat/completions` is.
    pub base_url: String,
    /// The key, where one is needed.
    pub api_key: Option<Secret>,
    /// The model asked for.
    pub model: String,
    /// Time for a whole answer, waiting included.
    pub timeout: Duration,
    /// Time without a byte after which an answer is given up.
    pub stall: Duration,
    /// Questions that wait.
    pub queue: usize,
    /// Questions asked at once.
    pub concurrency: usize,
    /// Bytes of an answer.
    pub answer_bytes: usize,
    /// What is sent of the past.
    pub context: ContextBounds,
    /// How failures before the first piece of an answer are tried again.
    pub retry: RetryPolicy,
}

impl OpenAiSettings {
    /// The defaults, for an endpoint and a model.
    pub fn new(base_url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            api_key: None,
            model: model.into(),
            timeout: Duration::from_secs(30),
            stall: STALL,
            queue: QUEUE_MAX,
            concurrency: CONCURRENCY,
            answer_bytes: ANSWER_BYTES_MAX,
            context: ContextBounds::default(),
            retry: RetryPolicy::default(),
        }
    }

    /// From a configuration that was checked; the key comes from the environment.
    ///
    /// # Errors
    /// [`OpenAiError::NoKey`] where the named variable is unset or empty, [`OpenAiError::Address`] where there is no address.
    pub fn from_config(config: &ResponderConfig) -> Result<Self, OpenAiError> {
        let base_url = config.base_url.as_ref().ok_or(OpenAiError::Address)?.expose();
        let mut settings = Self::new(base_url, config.model.clone().unwrap_or_default());
        settings.timeout = Duration::from_millis(config.timeout_ms);
        if let Some(variable) = &config.api_key_env {
            let key = std::env::var(variable).ok().filter(|key| !key.trim().is_empty());
            let key = key.ok_or_else(|| OpenAiError::NoKey { variable: variable.clone() })?;
            settings.api_key = Some(Secret::new(key.trim()));
        }
        Ok(settings)
    }
}

/// Why the responder cannot be set up. The operator's; the same again fails again.
#[derive(Debug, thiserror::Error)]
pub enum OpenAiError {
    /// The address is none that HTTP can be spoken to. Not repeated: it may hold a password.
    #[error("responder.base_url is not an http or https address")]
    Address,
    /// The variable that should hold the key is unset or empty.
    #[error("responder.api_key_env: the environment variable {variable} is not set")]
    NoKey {
        /// Its name.
        variable: String,
    },
    /// The key has characters that no header takes.
    #[error("responder.api_key_env: the key holds characters that cannot be sent")]
    Key,
    /// The HTTP client cannot be had.
    #[error("the responder's HTTP client: {0}")]
    Client(#[source] reqwest::Error),
}

/// A question and where its answer goes.
struct Job {
    question: Question,
    reply: Reply,
}

/// The responder's front: takes questions from any thread.
pub struct OpenAi {
    queue: mpsc::Sender<Job>,
    running: Arc<AtomicUsize>,
}

/// The responder's back, to be run on the services' runtime.
pub struct OpenAiWorker {
    queue: mpsc::Receiver<Job>,
    asker: Arc<ask::Asker>,
    running: Arc<AtomicUsize>,
}

impl OpenAi {
    /// Both halves. Nothing is sent until the worker runs.
    ///
    /// # Errors
    /// [`OpenAiError`] where the address, the key or the HTTP client is not usable.
    pub fn new(
        settings: OpenAiSettings,
        history: Arc<dyn History>,
        breaker: Arc<Breaker>,
    ) -> Result<(Self, OpenAiWorker), OpenAiError> {
        let url = endpoint(&settings.base_url)?;
        let client = client(&settings, &url)?;
        let (sender, receiver) = mpsc::channel(settings.queue);
        let running = Arc::new(AtomicUsize::new(0));
        let asker = Arc::new(ask::Asker { settings, url, client, history, breaker });
        Ok((Self { queue: sender, running: Arc::clone(&running) }, OpenAiWorker { queue: receiver, asker, running }))
    }
}

impl Responder for OpenAi {
    fn respond(&self, question: Question, reply: Reply) {
        if let Err(refused) = self.queue.try_send(Job { question, reply }) {
            let waiting = self.queue.max_capacity();
            tracing::debug!(waiting, "a text was refused: the responder's queue is full");
            refused.into_inner().reply.fail(&RespondError::Overloaded { waiting });
        }
    }

    fn status(&self) -> ResponderStatus {
        ResponderStatus {
            kind: "openai",
            waiting: self.queue.max_capacity() - self.queue.capacity(),
            running: self.running.load(Ordering::Relaxed),
        }
    }
}

/// Counts a question while it is being answered.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OpenAiWorker {
    /// Asks what comes, until `stop` or until the front is gone. Those being answered at `stop` are given up.
    pub async fn run(mut self, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.asker.settings.concurrency));
        let tasks = TaskTracker::new();
        let all = async {
            // The slot first: a question taken out of the queue must not wait outside of its bound.
            while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
                let Some(Job { question, reply }) = self.queue.recv().await else { break };
                let (asker, running, stop) = (Arc::clone(&self.asker), Running::new(&self.running), stop.clone());
                tasks.spawn(async move {
                    let _held = (slot, running);
                    stop.run_until_cancelled(asker.answer(question, reply)).await;
                });
            }
        };
        stop.run_until_cancelled(all).await;
        tasks.close();
        tasks.wait().await;
    }
}

fn endpoint(base_url: &str) -> Result<reqwest::Url, OpenAiError> {
    let mut url: reqwest::Url = base_url.parse().map_err(|_| OpenAiError::Address)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(OpenAiError::Address);
    }
    url.path_segments_mut().map_err(|()| OpenAiError::Address)?.pop_if_empty().extend(["chat", "completions"]);
    Ok(url)
}

fn client(settings: &OpenAiSettings, url: &reqwest::Url) -> Result<reqwest::Client, OpenAiError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(key) = &settings.api_key {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).map_err(|_| OpenAiError::Key)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("voxgate/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        // A redirect would send the key and the question to somewhere nobody configured.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT);
    if is_this_machine(url) {
        builder = builder.no_proxy();
    }
    if url.scheme() == "http" {
        // The system's certificates are not needed, and where there are none, loading them fails.
        builder = builder.tls_certs_only(std::iter::empty());
    }
    builder.build().map_err(|e| OpenAiError::Client(e.without_url()))
}

/// A model server beside this one is never behind a proxy, whatever the environment says.
fn is_this_machine(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|a| a.is_loopback())
}
