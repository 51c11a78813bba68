//! From bytes to blocks of output PCM.

pub mod offline;
