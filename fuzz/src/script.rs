//! An input read as choices, for targets that play a client.

/// What the client says, read from the input.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl Script<'_> {
    /// The next byte, while there is one.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A choice below `limit`; the first once nothing is left.
    pub(crate) fn below(&mut self, limit: u8) -> u8 {
        self.byte().unwrap_or(0) % limit
    }
}
