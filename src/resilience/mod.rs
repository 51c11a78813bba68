//! What keeps one failing service from becoming everybody's failure: retries that give way, and circuit breakers. Knows no service,
//! no message and no connection.

mod breaker;
mod retry;

pub use breaker::{
    Breaker, BreakerChange, BreakerSettings, BreakerState, BreakerStatus, Breakers, CircuitOpen, Permit,
};
pub use retry::{Retry, RetryPolicy};
