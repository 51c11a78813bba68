//! `[telemetry]`: whereto traces are exported. Knows which build has an exporter, not what one is.

use super::check::Checker;
use super::secret::ServiceUrl;
use super::services::check_http_url;
use super::setting::section;

/// Variables that every program which exports traces understands, and the keys they are here. Those of [`super::ENV_PREFIX`] win.
pub(super) const STANDARD_VARIABLES: [(&str, &str); 2] =
    [("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"), ("OTEL_SERVICE_NAME", "service_name")];

section! {
    /// Whereto traces are exported.
    TelemetryConfig {
        /// Address of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://localhost:4318`; none exports nothing.
        otlp_endpoint: Option<ServiceUrl> = None,
        /// What the server is called in traces.
        service_name: String = "voxgate".to_owned(),
    }
}

impl TelemetryConfig {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        if let Some(url) = &self.otlp_endpoint {
            check_http_url("telemetry.otlp_endpoint", url, checker);
            if !cfg!(feature = "otel") {
                checker.fault(
                    "telemetry.otlp_endpoint",
                    "this build exports no traces",
                    "build with `cargo build --release --features otel`, or leave it out",
                );
            }
        }
        if self.service_name.trim().is_empty() {
            checker.fault("telemetry.service_name", "no name", "name the server, such as \"voxgate\"");
        }
    }
}
