//! The exporter: finished spans wait in one bounded queue, a thread of the SDK's own sends them as protobuf over HTTP. Whatever happens to
//! the collector, the server goes on: full queues drop spans, sending has its time. Knows no connection.

use std::fmt::Display;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::{Span as _, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanData, SpanExporter as Export,
};

use super::{SpanKind, TraceError};
use crate::config::ServiceUrl;

/// Where collectors take traces, below their address.
const TRACES_PATH: &str = "/v1/traces";
/// Spans that wait (policy: the newest is dropped): some two megabytes, and a busy server's for some seconds.
const QUEUE_SPANS_MAX: usize = 4_096;
/// Time a collector has to take a batch: what it does not take by then it is too slow for.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for what waits at the end: part of the time a service manager leaves between SIGTERM and SIGKILL.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// What begins spans; a process has one or none.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// A span that will be exported, or that the sampler left out.
#[derive(Debug)]
pub(super) struct Live(opentelemetry_sdk::trace::Span);

impl Live {
    /// None where nothing is exported.
    pub(super) fn start(kind: SpanKind, name: &dyn Display, parent: Option<&Self>) -> Option<Self> {
        let tracer = TRACER.get()?;
        let kind = match kind {
            SpanKind::Server => opentelemetry::trace::SpanKind::Server,
            SpanKind::Internal => opentelemetry::trace::SpanKind::Internal,
            SpanKind::Client => opentelemetry::trace::SpanKind::Client,
        };
        // Never the thread's current one: tasks of many connections share a thread.
        let mut context = Context::new();
        if let Some(above) = parent {
            context = context.with_remote_span_context(above.0.span_context().clone());
        }
        Some(Self(tracer.span_builder(name.to_string()).with_kind(kind).start_with_context(tracer, &context)))
    }

    pub(super) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    pub(super) fn fail(&mut self, kind: &'static str) {
        self.set("error.type", kind);
        self.0.set_status(Status::error(kind));
    }
}

/// The exporter of this process.
#[derive(Debug)]
pub(super) struct Exporter(SdkTracerProvider);

impl Exporter {
    pub(super) fn start(endpoint: &ServiceUrl, service_name: &str) -> Result<Self, TraceError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}{TRACES_PATH}", endpoint.expose().trim_end_matches('/')))
            .with_timeout(SEND_TIMEOUT)
            // What is sent next is newer and worth more; the queue is behind.
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|_| TraceError::Exporter("not an address the exporter takes".to_owned()))?;
        let queue = BatchConfigBuilder::default().with_max_queue_size(QUEUE_SPANS_MAX).build();
        let exporter = Told { inner: exporter, failing: AtomicBool::new(false) };
        let resource = Resource::builder()
            .with_service_name(service_name.to_owned())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(queue).build())
            .build();
        TRACER.set(provider.tracer("voxgate")).map_err(|_| TraceError::Twice)?;
        Ok(Self(provider))
    }

    pub(super) fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last traces were not taken");
        }
    }
}

/// An exporter whose failures are logged when they begin and when they end, not every few seconds between.
#[derive(Debug)]
struct Told<E> {
    inner: E,
    failing: AtomicBool,
}

impl<E: Export> Export for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.inner.export(batch).await;
        let failed_before = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !failed_before => tracing::warn!(%error, spans, "traces are not taken; more are dropped"),
            Ok(()) if failed_before => tracing::info!("traces are taken again"),
            Ok(()) | Err(_) => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
