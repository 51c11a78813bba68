//! Everything over real sockets and real files. A folder or file an area; `support` has the server and the client.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, missing_docs, unreachable_pub)]

mod admin;
mod admission;
mod audio;
mod documents;
mod failures;
mod health;
mod hostile;
mod http;
mod identity;
mod journal;
mod limits;
mod logs;
mod monitoring;
mod people;
mod replay;
mod responder;
mod resume;
mod settings;
mod soak;
mod support;
mod tls;
mod token;
mod ws;
