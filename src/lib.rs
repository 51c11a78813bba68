//! voxgate: microphone bytes in, clean PCM out, over one socket.
//!
//! The folders are the dataflow: `frame → decode → resample → sinks` for audio, `message → session → hub → message` for the rest.
//! Core modules know no socket, file, clock or runtime; runtime modules know no server; the server knows no command line.
//! `tests/layering.rs` holds the rule.

// core
pub mod analysis;
pub mod audio;
pub mod decode;
pub mod dialect;
pub mod protocol;
pub mod resample;
pub mod session;
pub mod websocket;

// runtime
pub mod auth;
pub mod clock;
pub mod config;
pub mod hub;
pub mod journal;
pub mod pipeline;
pub mod resilience;
pub mod sink;
pub mod store;
pub mod telemetry;
pub mod upstream;

// server
pub mod server;

// command line and composition
pub mod app;
pub mod cli;
pub mod client;
