//! Everything over real sockets and real files. A folder or file an area; `support` has the server and the client.
#![allow(clippy::unwrap_used, missing_docs)]

mod audio;
mod http;
mod support;
mod ws;
