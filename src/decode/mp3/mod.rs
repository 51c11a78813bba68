//! x
pub(crate) mod header;
