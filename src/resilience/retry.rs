//! Trying again: how often, how long apart, and when it is not worth it. Knows nothing of what is tried.

use std::future::Future;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};

/// How an operation is tried again.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// How often it is tried in all.
    pub tries: u32,
    /// Longest wait before the second try; each later one may wait twice as long.
    pub delay_min: Duration,
    /// No wait is longer, whoever asks for it.
    pub delay_max: Duration,
}

impl Default for RetryPolicy {
    /// Three tries within what a person waits for an answer.
    fn default() -> Self {
        Self { tries: 3, delay_min: Duration::from_millis(500), delay_max: Duration::from_secs(10) }
    }
}

/// Whether a failure is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same again fails again, or has been heard already.
    No,
    /// It may work the next time.
    Yes {
        /// What the service asked to wait (`Retry-After`).
        after: Option<Duration>,
    },
}

impl RetryPolicy {
    /// Never again.
    #[must_use]
    pub fn once(self) -> Self {
        Self { tries: 1, ..self }
    }

    /// Runs `operation` until it succeeds, its failure is not worth a retry, the tries are used up or the next wait would pass
    /// `deadline`. `operation` is told the number of the try, from 1.
    ///
    /// # Errors
    /// That of the last try.
    pub async fn run<T, E, F>(
        &self,
        deadline: Instant,
        judge: impl Fn(&E) -> Retry,
        mut operation: impl FnMut(u32) -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut number = 0;
        let backoff = ExponentialBuilder::new()
            .with_min_delay(self.delay_min)
            .with_max_delay(self.delay_max)
            .with_max_times(usize::try_from(self.tries.saturating_sub(1)).unwrap_or(usize::MAX));
        let attempt = || {
            number += 1;
            operation(number)
        };
        attempt
            .retry(backoff)
            .adjust(|error, proposed| {
                let left = deadline.saturating_duration_since(Instant::now());
                self.wait(judge(error), proposed, left, random_share())
            })
            .await
    }

    /// How long to wait, if it is worth it. Full jitter, anything from nothing to the proposed wait: clients that failed together do
    /// not come back together. A wait the service asked for is kept, or there is no retry: sooner would only make it worse.
    fn wait(&self, retry: Retry, proposed: Option<Duration>, left: Duration, share: f64) -> Option<Duration> {
        let Retry::Yes { after } = retry else { return None };
        let jittered = proposed?.min(self.delay_max).mul_f64(share);
        let wait = match after {
            Some(asked) if asked > self.delay_max => return None,
            Some(asked) => asked.max(jittered),
            None => jittered,
        };
        (wait < left).then_some(wait)
    }
}

/// From 0 to 1. Without a source of randomness all wait the whole time, which is safe.
fn random_share() -> f64 {
    getrandom::u32().map_or(1.0, |n| f64::from(n) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const YES: Retry = Retry::Yes { after: None };

    fn asked(ms: u64) -> Retry {
        Retry::Yes { after: Some(Duration::from_millis(ms)) }
    }

    #[test]
    fn a_wait_is_any_part_of_the_proposed_one_and_never_more_than_asked_of_us() {
        let p = RetryPolicy::default();
        let proposed = Some(Duration::from_millis(500));
        assert_eq!(p.wait(YES, proposed, LONG, 0.0), Some(Duration::ZERO));
        assert_eq!(p.wait(YES, proposed, LONG, 1.0), proposed);
        assert_eq!(p.wait(asked(3_000), proposed, LONG, 1.0), Some(Duration::from_secs(3)));
        assert_eq!(p.wait(asked(10_000), proposed, LONG, 1.0), Some(Duration::from_secs(10)));
        for (retry, proposed, left, why) in [
            (Retry::No, proposed, LONG, "not worth it"),
            (YES, None, LONG, "the tries are used up"),
            (asked(1), None, LONG, "the tries are used up, whatever was asked"),
            (asked(10_001), proposed, LONG, "asked for longer than anyone waits"),
            (asked(3_000), proposed, Duration::from_secs(3), "the deadline comes first"),
        ] {
            assert_eq!(p.wait(retry, proposed, left, 1.0), None, "{why}");
        }
    }

    #[tokio::test]
    async fn it_is_tried_as_often_as_the_policy_says() {
        let quick = RetryPolicy { tries: 3, delay_min: Duration::from_millis(1), delay_max: Duration::from_millis(2) };
        let deadline = Instant::now() + LONG;
        let all: Result<(), u32> = quick.run(deadline, |_| YES, async |n| Err(n)).await;
        assert_eq!(all, Err(3));
        assert_eq!(quick.run(deadline, |_: &u32| YES, async |n| if n == 2 { Ok(n) } else { Err(n) }).await, Ok(2));
        let hopeless: Result<(), u32> = quick.run(deadline, |_| Retry::No, async |n| Err(n)).await;
        assert_eq!(hopeless, Err(1));
        let once: Result<(), u32> = quick.once().run(deadline, |_| YES, async |n| Err(n)).await;
        assert_eq!(once, Err(1));
    }

    #[tokio::test]
    async fn no_retry_begins_after_the_deadline() {
        let p = RetryPolicy::default();
        let late: Result<(), u32> = p.run(Instant::now(), |_| YES, async |n| Err(n)).await;
        assert_eq!(late, Err(1));
    }
}
