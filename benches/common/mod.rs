//! What the benches of the codec side share: short runs, for there are many of them.

use std::time::Duration;

use criterion::Criterion;

/// About two seconds a bench.
pub(crate) fn short() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}
