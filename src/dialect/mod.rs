//! How commands and events are said on the wire. A dialect knows no codec and no hub; another one stands beside [`native`] as a
//! folder of its own over the same commands and events.

pub mod native;
