//! How far the streams are: bars on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::replay::Job;
use super::terminal;
use crate::client::ClientError;
use crate::client::pace::Pace;
use crate::client::replay::{Outcome, Progress};

/// Bars that fit a screen; more streams show as plain lines.
const BARS_MAX: usize = 40;
/// Between two plain lines of a stream.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Between two redraws of a bar's text: what an eye follows.
const BAR_INTERVAL: Duration = Duration::from_millis(100);

/// The streams' lines.
pub(super) struct Display {
    lines: Vec<(String, Pace, u64, Option<u64>)>,
    bars: Option<MultiProgress>,
    name_width: usize,
}

/// One stream's line.
pub(super) struct Line {
    name: String,
    pace: Pace,
    total_bytes: u64,
    duration_ms: Option<u64>,
    bar: Option<ProgressBar>,
    shown: Instant,
}

impl Display {
    pub(super) fn new(jobs: &[Job]) -> Self {
        let lines =
            jobs.iter().map(|job| (job.name.clone(), job.plan.pace, job.plan.bytes.len() as u64, job.duration_ms));
        let on_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr()) && jobs.len() <= BARS_MAX;
        Self {
            lines: lines.collect(),
            bars: on_terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10))),
            name_width: jobs.iter().map(|job| job.name.chars().count()).max().unwrap_or(0),
        }
    }

    /// The line of a stream.
    pub(super) fn line(&self, index: usize) -> Line {
        let (name, pace, total_bytes, duration_ms) = self.lines[index].clone();
        let bar = self.bars.as_ref().map(|bars| {
            let colour = if terminal::stderr_colours() { ".green" } else { "" };
            let template =
                format!("{{prefix:{}}} [{{bar:24{colour}}}] {{bytes}}/{{total_bytes}} {{msg}}", self.name_width);
            let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bars.add(ProgressBar::new(total_bytes)).with_style(style.progress_chars("=> ")).with_prefix(name.clone())
        });
        Line { name, pace, total_bytes, duration_ms, bar, shown: Instant::now() }
    }
}

impl Line {
    /// Shows how far the stream is, not too often.
    pub(super) fn show(&mut self, progress: Progress) {
        let interval = if self.bar.is_some() { BAR_INTERVAL } else { PLAIN_INTERVAL };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        let text = self.text(progress);
        match &self.bar {
            Some(bar) => {
                bar.set_position(progress.sent_bytes);
                bar.set_message(text);
            }
            None => terminal::note(&format!(
                "{}: {}/{} sent, {text}",
                self.name,
                terminal::bytes(progress.sent_bytes),
                terminal::bytes(self.total_bytes)
            )),
        }
    }

    /// Audio time, acknowledged bytes, lag: how much audio was sent and is not decoded.
    fn text(&self, progress: Progress) -> String {
        let decoded = terminal::seconds(progress.decoded_ms);
        let acked = terminal::bytes(progress.acked_bytes);
        let text = match self.duration_ms {
            Some(duration_ms) => {
                let lag_ms = self.pace.audio_ms(progress.sent_bytes).saturating_sub(progress.decoded_ms);
                format!("{decoded} of {}, {acked} acknowledged, lag {lag_ms} ms", terminal::seconds(duration_ms))
            }
            None => format!("{decoded}, {acked} acknowledged"),
        };
        format!("{text}{}", reconnected(progress.reconnected))
    }

    /// Shows the end. What failed is named once, with the result.
    pub(super) fn end(&mut self, outcome: &Result<Outcome, ClientError>) {
        let text = match outcome {
            Ok(outcome) => {
                if let Some(bar) = &self.bar {
                    bar.set_position(outcome.sent_bytes);
                }
                let decoded = terminal::seconds(outcome.ended.duration_ms);
                let again = reconnected(outcome.reconnected);
                format!(
                    "{decoded}, {} acknowledged, {}{again}",
                    terminal::bytes(outcome.acked_bytes),
                    outcome.ended.reason
                )
            }
            Err(_) => "failed".to_owned(),
        };
        match &self.bar {
            Some(bar) => bar.abandon_with_message(text),
            None => terminal::note(&format!("{}: {text}", self.name)),
        }
    }
}

/// What is said of connections that were made anew: nothing where there were none.
fn reconnected(times: u32) -> String {
    if times == 0 { String::new() } else { format!(", reconnected {times}×") }
}
