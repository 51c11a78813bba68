//! Keys from an address: fetched in the background, kept until better ones come. One task fetches ([`Refresher::run`]); whoever needs a
//! key that is not here asks that task and waits, from any thread. Knows no token.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use reqwest::header::{CACHE_CONTROL, HeaderMap};
use reqwest::redirect::Policy;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::error::{AuthError, KeyFault};
use super::jwks::{self, JwksError, Source};
use super::keys::KeySet;
use crate::config::ServiceUrl;

/// A key set is some kilobytes; with certificate chains some hundred.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Tries of one refresh: what a restart or a lost packet costs, not an outage.
const TRIES: usize = 3;
/// How long keys are good where the server does not say.
const FRESH_DEFAULT: Duration = Duration::from_secs(600);
/// Bounds of what the server says: not a storm of requests, not a withdrawn key trusted for weeks.
const FRESH_MIN: Duration = Duration::from_secs(300);
const FRESH_MAX: Duration = Duration::from_secs(24 * 3600);

/// The times a refresher keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// For one request, body included.
    pub(super) request: Duration,
    /// What a token's bearer waits for an unknown key: less than a handshake may take.
    pub(super) wait: Duration,
    /// Between two refreshes that unknown keys ask for: anyone can invent a key's name.
    pub(super) pause: Duration,
    /// After a refresh that failed.
    pub(super) again: Duration,
    /// Shortest and longest wait between tries.
    pub(super) backoff: (Duration, Duration),
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(5),
            wait: Duration::from_secs(3),
            pause: Duration::from_secs(10),
            again: Duration::from_secs(30),
            backoff: (Duration::from_millis(500), Duration::from_secs(10)),
        }
    }
}

/// What the task knows.
#[derive(Clone, Debug, Default)]
struct State {
    keys: Arc<KeySet>,
    /// Whether a refresh is under way.
    running: bool,
    /// Refreshes that have ended, well or not.
    ended: u64,
    ended_at: Option<Instant>,
    /// Whether the last one brought keys.
    good: bool,
}

impl State {
    /// All there is to know of a key that is not among the old ones.
    fn newest(&self) -> Result<Arc<KeySet>, AuthError> {
        if self.good { Ok(Arc::clone(&self.keys)) } else { Err(AuthError::KeysUnavailable) }
    }

    fn rests(&self, pause: Duration) -> bool {
        !self.running && self.ended_at.is_some_and(|at| at.elapsed() < pause)
    }
}

/// The keys at an address.
#[derive(Debug)]
pub(super) struct Refresher {
    client: reqwest::Client,
    url: ServiceUrl,
    timing: Timing,
    state: watch::Sender<State>,
    wanted: Notify,
}

/// Why a refresh brought no keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{}", chain(error))]
    Request { error: reqwest::Error },
    #[error("it answers {status}{}", if status.is_redirection() { ": give the address it leads to" } else { "" })]
    Status { status: reqwest::StatusCode },
    #[error("its answer is larger than {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Jwks(#[from] JwksError),
}

impl FetchError {
    /// Whether the next try may go better.
    fn is_transient(&self) -> bool {
        match self {
            Self::Request { .. } => true,
            Self::Status { status } => status.is_server_error() || matches!(status.as_u16(), 408 | 429),
            Self::TooLarge | Self::Jwks(_) => false,
        }
    }
}

impl From<reqwest::Error> for FetchError {
    /// The address may hold a password.
    fn from(error: reqwest::Error) -> Self {
        Self::Request { error: error.without_url() }
    }
}

/// An error with its causes: of a request that failed, the causes say why.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Refresher {
    pub(super) fn new(url: &ServiceUrl) -> Result<Self, KeyFault> {
        Self::with_timing(url, Timing::default())
    }

    pub(super) fn with_timing(url: &ServiceUrl, timing: Timing) -> Result<Self, KeyFault> {
        let parsed = reqwest::Url::parse(url.expose()).map_err(|e| KeyFault::Address { problem: e.to_string() })?;
        match (parsed.scheme(), parsed.host_str()) {
            ("https", Some(_)) => {}
            ("http", Some("localhost" | "127.0.0.1" | "[::1]")) => {}
            ("http", Some(_)) => {
                tracing::warn!("auth.jwks_url is plain http: whoever is on the way can put his own keys in; use https");
            }
            _ => return Err(KeyFault::Address { problem: "not an http or https address".to_owned() }),
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("voxgate/", env!("CARGO_PKG_VERSION")))
            .timeout(timing.request)
            // A redirect could lead from https to http; keys have one address.
            .redirect(Policy::none())
            .build()
            .map_err(|e| KeyFault::Address { problem: chain(&e.without_url()) })?;
        Ok(Self {
            client,
            url: url.clone(),
            timing,
            state: watch::Sender::new(State::default()),
            wanted: Notify::new(),
        })
    }

    /// The keys as they are.
    pub(super) fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.state.borrow().keys)
    }

    /// The keys after a refresh for one that is unknown. Many who ask at once get the same refresh; within the pause after one they get
    /// what that one brought.
    ///
    /// # Errors
    /// [`AuthError::KeysUnavailable`]: the refresh failed or is not over in time.
    pub(super) async fn newer(&self) -> Result<Arc<KeySet>, AuthError> {
        let mut state = self.state.subscribe();
        let ended = {
            let now = state.borrow();
            if now.rests(self.timing.pause) {
                return now.newest();
            }
            now.ended
        };
        self.wanted.notify_one();
        match timeout(self.timing.wait, state.wait_for(|s| s.ended > ended)).await {
            Ok(Ok(state)) => state.newest(),
            Ok(Err(_)) | Err(_) => Err(AuthError::KeysUnavailable),
        }
    }

    /// Refreshes at once, then whenever the keys are no longer fresh or one is wanted that is not among them. Never ends.
    pub(super) async fn run(&self) {
        loop {
            let due = Instant::now() + self.refresh().await;
            loop {
                tokio::select! {
                    () = sleep_until(due) => break,
                    () = self.wanted.notified() => {
                        if !self.state.borrow().rests(self.timing.pause) {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// One refresh, with its tries. Says after how long the next is due.
    async fn refresh(&self) -> Duration {
        self.state.send_modify(|s| s.running = true);
        let (shortest, longest) = self.timing.backoff;
        let backoff = ExponentialBuilder::new()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .with_max_times(TRIES - 1)
            .with_jitter();
        let outcome = (|| self.fetch()).retry(backoff).when(FetchError::is_transient).await;
        let (fetched, next) = match outcome {
            Ok((keys, fresh)) => (Some(keys), fresh),
            Err(error) => {
                let kept = self.keys().keys.len();
                tracing::warn!(url = self.url.masked(), %error, kept, "the keys at auth.jwks_url cannot be fetched");
                (None, self.timing.again)
            }
        };
        self.state.send_modify(|s| {
            s.running = false;
            s.ended += 1;
            s.ended_at = Some(Instant::now());
            s.good = fetched.is_some();
            if let Some(keys) = fetched {
                s.keys = Arc::new(keys);
            }
        });
        next
    }

    async fn fetch(&self) -> Result<(KeySet, Duration), FetchError> {
        let mut response = self.client.get(self.url.expose()).send().await?;
        let status = response.status();
        if !status.is_success() {
            return Err(FetchError::Status { status });
        }
        let fresh = fresh_for(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let (keys, passed_over) = jwks::parse(&body, Source::Url)?;
        tracing::debug!(keys = keys.keys.len(), ?passed_over, fresh_s = fresh.as_secs(), "keys fetched");
        Ok((keys, fresh))
    }
}

/// How long an answer may be used (RFC 9111 section 5.2.2.1).
fn fresh_for(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|v| v.to_str().ok());
    let max_age = directives.flat_map(|v| v.split(',')).find_map(|directive| {
        let (name, value) = directive.trim().split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        name.eq_ignore_ascii_case("max-age").then(|| Duration::from_secs(seconds))
    });
    max_age.map_or(FRESH_DEFAULT, |age| age.clamp(FRESH_MIN, FRESH_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_the_servers_within_bounds() {
        for (value, seconds) in [
            ("", 600),
            ("public, max-age=3600", 3_600),
            ("Max-Age=\"1800\"", 1_800),
            ("max-age=1", 300),
            ("max-age=99999999", 86_400),
            ("max-age=99999999999999999999999", 600),
            ("no-store", 600),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            assert_eq!(fresh_for(&headers), Duration::from_secs(seconds), "{value}");
        }
    }
}
