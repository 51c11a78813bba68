//! `voxgate demo`: everything at once, with nothing to prepare.

use std::path::PathBuf;

use anyhow::Context;

use super::replay::{Job, report, send_all, verdict};
use super::serve::{not_started, scheme, stop_on_signal};
use super::{Failure, terminal};
use crate::app::Server;
use crate::audio::{Encoding, StreamFormat};
use crate::client::WsUrl;
use crate::client::pace::Speed;
use crate::config::{Config, ConfigFile, Flag, load};

/// See it work: a server on a free port, and browsers' recordings replayed into it.
///
/// Then the server goes on until Ctrl-C, for a microphone of your own. Data goes into a temporary folder unless --data-dir is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  voxgate demo\n  voxgate demo --once --speed max")]
pub(super) struct Args {
    /// Stop when the recordings have been replayed.
    #[arg(long)]
    once: bool,
    /// How many times real time, or max.
    #[arg(long, default_value = "1", value_name = "1|2.5|max")]
    speed: Speed,
    /// Keep the data here.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// What browsers and telephones send.
const RECORDINGS: [(&str, &[u8]); 7] = [
    ("chromium-opus.webm", include_bytes!("../../fixtures/recorders/chromium-opus.webm")),
    ("chromium-opus.mp4", include_bytes!("../../fixtures/recorders/chromium-opus.mp4")),
    ("firefox-opus.webm", include_bytes!("../../fixtures/recorders/firefox-opus.webm")),
    ("firefox-opus.ogg", include_bytes!("../../fixtures/recorders/firefox-opus.ogg")),
    ("frag-aac.mp4", include_bytes!("../../fixtures/audio/frag-aac.mp4")),
    ("studio48.wav", include_bytes!("../../fixtures/audio/studio48.wav")),
    ("phone8.mulaw", include_bytes!("../../fixtures/audio/phone8.mulaw")),
];

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let folder =
        tempfile::Builder::new().prefix("voxgate-demo-").tempdir().context("no temporary folder can be made")?;
    let data_dir = args.data_dir.unwrap_or_else(|| folder.path().to_owned());
    let config = configuration(&data_dir.to_string_lossy())?;
    let scheme = scheme(&config);
    let server = Server::start(config).map_err(not_started)?;
    let address = server.local_addr();
    let stop = server.shutdown_handle();
    stop_on_signal(stop.clone())?;
    terminal::print(&format!("listening on {scheme}://{address}\n")).context("standard output")?;

    let jobs = RECORDINGS.iter().map(|(name, bytes)| {
        let format = match name.ends_with(".mulaw") {
            true => StreamFormat::new(Encoding::Mulaw, Some(8_000), Some(1))?,
            false => StreamFormat::AUTO,
        };
        Job::recorded(name, bytes, format, args.speed).with_context(|| (*name).to_owned())
    });
    let url = WsUrl::of(address);
    let results = send_all(jobs.collect::<anyhow::Result<_>>()?, &url, None)?;
    terminal::print(&report(&results, &url)).context("standard output")?;
    let outcome = verdict(&results);
    if args.once || outcome.is_err() {
        stop();
    } else {
        terminal::print(&format!("open {scheme}://{address}/ to use a microphone; Ctrl-C stops\n"))
            .context("standard output")?;
    }
    server.join().context("the server failed")?;
    outcome
}

/// The defaults on a free port; no file and no environment, so that a demo is the same everywhere.
fn configuration(data_dir: &str) -> Result<Config, Failure> {
    let flags = [
        Flag { key: "server.bind", flag: "--bind", value: "127.0.0.1:0".into() },
        Flag { key: "server.data_dir", flag: "--data-dir", value: data_dir.into() },
        Flag { key: "log.level", flag: "--log-level", value: "warn".into() },
    ];
    Ok(load(&ConfigFile::None, [], flags)?.config)
}
