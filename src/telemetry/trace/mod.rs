//! Spans of traces, for who collects them by OpenTelemetry: a request, a connection, a stream, a question to the responder. Nothing a
//! frame. Without the feature `otel` a span is of no size and does nothing; knows no connection and no protocol of collectors.

#[cfg(feature = "otel")]
mod otlp;

use std::fmt::Display;

use crate::config::TelemetryConfig;

/// Where in a trace a span stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Something a client asked for.
    Server,
    /// Something of the server's own.
    Internal,
    /// Something the server asks of another service.
    Client,
}

/// A span: ends, and is handed to the exporter, where it is dropped. Attributes are shown to whoever reads the traces: ids and figures,
/// never what clients said or showed to get in.
#[derive(Debug, Default)]
pub struct Span {
    /// Boxed, for most servers export nothing.
    #[cfg(feature = "otel")]
    live: Option<Box<otlp::Live>>,
}

#[cfg(feature = "otel")]
impl Span {
    /// Begins a span. Its name is made only where spans are exported.
    pub fn start(kind: SpanKind, name: &dyn Display, parent: Option<&Self>) -> Self {
        let parent = parent.and_then(|p| p.live.as_deref());
        Self { live: otlp::Live::start(kind, name, parent).map(Box::new) }
    }

    /// Says something of it in words.
    pub fn text(&mut self, key: &'static str, value: &dyn Display) {
        if let Some(live) = &mut self.live {
            live.set(key, value.to_string());
        }
    }

    /// Says something of it in figures.
    pub fn number(&mut self, key: &'static str, value: u64) {
        if let Some(live) = &mut self.live {
            live.set(key, i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// What it stands for went wrong.
    pub fn fail(&mut self, kind: &'static str) {
        if let Some(live) = &mut self.live {
            live.fail(kind);
        }
    }
}

#[cfg(not(feature = "otel"))]
#[allow(clippy::unused_self, missing_docs, reason = "as above, without an exporter")]
impl Span {
    pub fn start(_: SpanKind, _: &dyn Display, _: Option<&Self>) -> Self {
        Self {}
    }

    pub fn text(&mut self, _: &'static str, _: &dyn Display) {}

    pub fn number(&mut self, _: &'static str, _: u64) {}

    pub fn fail(&mut self, _: &'static str) {}
}

/// Why traces cannot be exported. The operator's; the same configuration fails again.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The exporter refuses what it was given.
    #[error("telemetry.otlp_endpoint: {0}")]
    Exporter(String),
    /// There is an exporter already.
    #[error("traces are exported already")]
    Twice,
}

/// What holds the exporter of a process.
#[derive(Debug, Default)]
#[must_use = "spans that wait are lost where it is not finished"]
pub struct Traces {
    #[cfg(feature = "otel")]
    exporter: Option<otlp::Exporter>,
}

impl Traces {
    /// Exports spans from now on, where the configuration says whereto. Once a process, outside of any runtime.
    ///
    /// # Errors
    /// [`TraceError`]; a configuration that asks a build without exporter for one was refused when it was loaded.
    #[cfg_attr(not(feature = "otel"), allow(clippy::unnecessary_wraps, reason = "nothing can fail that is not there"))]
    pub fn start(config: &TelemetryConfig) -> Result<Self, TraceError> {
        #[cfg(feature = "otel")]
        if let Some(endpoint) = &config.otlp_endpoint {
            let exporter = otlp::Exporter::start(endpoint, &config.service_name)?;
            return Ok(Self { exporter: Some(exporter) });
        }
        #[cfg(not(feature = "otel"))]
        let _ = config;
        Ok(Self::default())
    }

    /// Sends what waits, as far as that is taken within some seconds. Blocks.
    pub fn finish(self) {
        #[cfg(feature = "otel")]
        if let Some(exporter) = self.exporter {
            exporter.finish();
        }
    }
}
