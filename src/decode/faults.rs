//! Decoders that fail as no input makes one fail: what stands around a decoder must hold all the same (failures.md row 15), and is tested
//! from outside the crate. Nothing but Rust code that links the library reaches this; a server never does.

use std::sync::OnceLock;

use super::{DecodeParams, Decoder};

/// Gives the decoder to open instead of the table's, or none.
pub type StandIn = fn(&DecodeParams) -> Option<Box<dyn Decoder>>;

static STAND_IN: OnceLock<StandIn> = OnceLock::new();

/// Asks `stand_in` before the table, from now on, in the whole process. False if another one is there already.
pub fn stand_in(stand_in: StandIn) -> bool {
    STAND_IN.set(stand_in).is_ok()
}

pub(super) fn stand_in_for(params: &DecodeParams) -> Option<Box<dyn Decoder>> {
    STAND_IN.get()?(params)
}
