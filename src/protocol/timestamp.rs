//! How a moment is written, everywhere.

use std::fmt;

/// Milliseconds since the Unix epoch, shown as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(t) => write!(f, "{t:.3}"),
            None => f.write_str("9999-12-31T23:59:59.999Z"),
        }
    }
}
