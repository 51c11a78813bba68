//! The voice path: bytes in over the socket, the right WAV out.

mod encodings;
mod listen;
mod streams;
mod together;
