//! Composition root: configuration in, running server out.

mod history;
mod services;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::auth::{AuthSetupError, Authenticator, RevocationsFull};
use crate::clock::{unix_ms, unix_s};
use crate::config::{AuthMode, Config, Durability, ResponderKind};
use crate::journal::{Found, Journal, JournalFolderError, JournalLimits};
use crate::resilience::{BreakerChange, BreakerState, Breakers};
use crate::server::{AcceptError, App, Lanes, Listener, Parts, RecordingIndex, TlsError, monitor};
use crate::sink::recorder::{RecordError, RecorderConfig, RecorderService};
use crate::store::{self, Store, StoreError, StoreOptions};
use crate::upstream::{Echo, OpenAi, OpenAiError, OpenAiSettings, RESPONDER, Responder};
use history::StoreHistory;
use services::Services;

/// Why the server could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] AcceptError),
    /// The recordings' folder cannot be used.
    #[error(transparent)]
    Recorder(#[from] RecordError),
    /// The journal's folder cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalFolderError),
    /// The responder cannot be set up.
    #[error(transparent)]
    Responder(#[from] OpenAiError),
    /// The store cannot be opened.
    #[error("store.url: {0}")]
    Store(#[from] StoreError),
    /// The keys cannot be used.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// What was revoked cannot be kept in force.
    #[error(transparent)]
    Revocations(#[from] RevocationsFull),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A thread or its runtime cannot be had.
    #[error("starting: {0}")]
    Start(#[from] std::io::Error),
    /// A part of the server panicked.
    #[error("the server failed")]
    Failed,
}

/// A running server. Dropping it does not stop it: see [`Server::drain`].
pub struct Server {
    local_addr: SocketAddr,
    app: Arc<App>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts a server on threads of its own; it listens when this returns.
    ///
    /// # Errors
    /// [`AppError`] where it cannot listen, write its folder or do what the configuration asks for.
    pub fn start(mut config: Config) -> Result<Self, AppError> {
        config.store.resolve(&config.server.data_dir); // whoever made it in code did not load it
        // Each connection is a descriptor, each recording another; where the system grants less, accepting pauses at the end.
        if let Err(e) = rlimit::increase_nofile_limit(u64::MAX) {
            tracing::warn!(error = %e, "the limit of open files stays as it is");
        }
        let (journal, found) = open_journal(&config)?;
        let breakers = Arc::new(Breakers::default());
        breakers.observe(log_breaker);
        let services = Services::start()?;
        let store = open_store(&config, &breakers, &services)?;
        let recordings = Arc::new(RecordingIndex::new(Arc::clone(&store)));
        let recorder =
            if config.recording.enabled { Some(recorder(&config, &recordings, &found, &breakers)?) } else { None };
        let auth = open_auth(&config, &services, &store)?;
        let responder = responder(&config, &breakers, &services, &store)?;
        let app = App::new(config, Parts { recorder, recordings, journal, responder, breakers, store, auth })?;
        services.keep(app.watch_certificate());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _guard = runtime.enter();
            Listener::bind(Arc::clone(&app))?
        };
        let local_addr = listener.local_addr()?;
        let lanes = Lanes::start(&app, found)?;
        services.spawn(|stop| monitor(Arc::clone(&app), stop));
        let thread = std::thread::Builder::new().name("accept".to_owned()).spawn({
            let app = Arc::clone(&app);
            move || {
                runtime.block_on(async {
                    let cleaner = clean_up(&app);
                    tokio::select! {
                        () = listener.run(&lanes) => {}
                        () = cleaner => {}
                    }
                });
                lanes.join();
                if services.run(|| app.store.close()).is_err() {
                    tracing::error!("the store was not closed");
                }
                services.shutdown();
            }
        })?;
        Ok(Self { local_addr, app, thread })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Begins to drain; [`Server::join`] returns when it is done.
    pub fn drain(&self) {
        self.app.begin_drain();
    }

    /// Something that begins to drain, from anywhere.
    pub fn shutdown_handle(&self) -> impl Fn() + Send + Sync + Clone + 'static {
        let app = Arc::clone(&self.app);
        move || app.begin_drain()
    }

    /// Waits until the server has drained and everything is on disk.
    ///
    /// # Errors
    /// [`AppError::Failed`] where a part of it panicked.
    pub fn join(self) -> Result<(), AppError> {
        self.thread.join().map_err(|_| AppError::Failed)
    }
}

/// Closes inactive connections by timer, where that is configured; else waits for ever.
async fn clean_up(app: &App) {
    /// How often they are looked for, against the time that may pass without a message.
    const LOOKS: u64 = 4;
    let Some(inactive_ms) = app.config.connections.inactive_after_ms else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis((inactive_ms / LOOKS).max(100)));
    loop {
        ticks.tick().await;
        let closed = app.connections.close_inactive(app.clock.now_ms(), inactive_ms);
        if closed > 0 {
            tracing::info!(closed, "inactive connections closed");
        }
    }
}

/// Opens the journal and gives what a killed server left in it. Without the setting what is left waits for a start with it.
fn open_journal(config: &Config) -> Result<(Option<Journal>, Vec<Found>), JournalFolderError> {
    if config.audio.durability == Durability::Memory {
        return Ok((None, Vec::new()));
    }
    let limits = JournalLimits {
        stream_bytes: config.audio.journal_stream_bytes,
        total_bytes: config.audio.journal_total_bytes,
    };
    let (journal, found) = Journal::open(&config.server.data_dir.join("journal"), limits)?;
    Ok((Some(journal), found))
}

fn recorder(
    config: &Config,
    index: &Arc<RecordingIndex>,
    found: &[Found],
    breakers: &Breakers,
) -> Result<RecorderService, RecordError> {
    let mut c = RecorderConfig::new(config.server.data_dir.join("recordings"));
    c.remade = found.iter().flat_map(|f| &f.streams).filter_map(|s| s.open.recording_id).collect();
    c.sync_at_end = config.audio.durability == Durability::Journal;
    c.max_file_bytes = config.recording.max_file_bytes;
    c.quota_bytes = config.recording.quota_bytes;
    c.retain_days = config.recording.retain_days.map(|d| u32::try_from(d).unwrap_or(u32::MAX));
    c.breaker = Some(breakers.get(crate::sink::recorder::BREAKER));
    let told = Arc::clone(index);
    c.changed = Some(Arc::new(move |change| told.changed(change)));
    let service = RecorderService::start(c)?;
    index.reconcile(&service.list(None, usize::MAX, None));
    Ok(service)
}

fn responder(
    config: &Config,
    breakers: &Breakers,
    services: &Services,
    store: &Arc<dyn Store>,
) -> Result<Option<Box<dyn Responder>>, OpenAiError> {
    match config.responder.kind {
        ResponderKind::None => Ok(None),
        ResponderKind::Echo => Ok(Some(Box::new(Echo))),
        ResponderKind::Openai => {
            let settings = OpenAiSettings::from_config(&config.responder)?;
            let history = Arc::new(StoreHistory::new(Arc::clone(store)));
            let (front, worker) = OpenAi::new(settings, history, breakers.get(RESPONDER))?;
            services.spawn(|stop| worker.run(stop));
            Ok(Some(Box::new(front)))
        }
    }
}

fn log_breaker(change: &BreakerChange) {
    let BreakerChange { name, to, failures } = change;
    match to {
        BreakerState::Open => tracing::error!(name, failures, "circuit breaker opened: the service is left alone"),
        BreakerState::HalfOpen => tracing::info!(name, "circuit breaker half open: the service is asked once"),
        BreakerState::Closed => tracing::info!(name, "circuit breaker closed: the service is back"),
    }
}

fn open_store(config: &Config, breakers: &Breakers, services: &Services) -> Result<Arc<dyn Store>, AppError> {
    let url = config.store.url.expose().to_owned();
    let options = StoreOptions {
        history_messages: config.limits.history_messages,
        now_unix_ms: unix_ms(),
        breaker: Some(breakers.get(store::BREAKER)),
        ..StoreOptions::default()
    };
    Ok(services.run(|| store::open(&url, options))??)
}

/// Reads the keys, takes over the revocations that outlived a restart, and fetches keys from now on.
fn open_auth(
    config: &Config,
    services: &Services,
    store: &Arc<dyn Store>,
) -> Result<Option<Arc<Authenticator>>, AppError> {
    if config.auth.mode == AuthMode::None {
        return Ok(None);
    }
    let auth = Authenticator::open(&config.auth, unix_s)?;
    let revoked = services.run(|| store.revocations(unix_s()))??;
    auth.load(revoked)?;
    services.keep(Arc::clone(&auth).maintain());
    Ok(Some(auth))
}
