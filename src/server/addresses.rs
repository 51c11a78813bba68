//! How many connections each address has. Knows no socket; who calls it decides what one is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections beyond an address's share that are let in only to be told so; further ones are cut off without a word.
const REFUSALS_MAX: usize = 16;

/// The connections of every address.
#[derive(Debug)]
pub(super) struct Addresses {
    counts: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
}

/// One connection of an address, counted while this lives.
#[derive(Debug)]
pub(super) struct Counted {
    all: Arc<Addresses>,
    address: IpAddr,
    /// It is one too many.
    pub(super) is_surplus: bool,
}

impl Addresses {
    /// Each may have `max`.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), max })
    }

    /// Counts a connection. `None` where its address has so many that not even a refusal is worth a place. Loopback has no bound:
    /// whoever is there is local.
    pub(super) fn count(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        let address = address.to_canonical();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let n = counts.entry(address).or_default();
        let is_surplus = *n >= self.max && !address.is_loopback();
        if is_surplus && *n >= self.max.saturating_add(REFUSALS_MAX) {
            return None;
        }
        *n += 1;
        Some(Counted { all: Arc::clone(self), address, is_surplus })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.all.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = counts.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_some_room_to_be_refused_in() {
        let addresses = Addresses::new(2);
        let (a, b, local): (IpAddr, IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap(), "127.0.0.1".parse().unwrap());
        let mut held: Vec<Counted> = (0..2 + REFUSALS_MAX).map(|_| addresses.count(a).unwrap()).collect();
        let surplus: Vec<bool> = held.iter().map(|c| c.is_surplus).collect();
        assert_eq!(surplus.iter().filter(|s| !**s).count(), 2);
        assert!(addresses.count(a).is_none());
        assert!(addresses.count("::ffff:192.0.2.1".parse().unwrap()).is_none(), "the same address");
        assert!(!addresses.count(b).unwrap().is_surplus, "another's share is its own");
        assert!((0..100).map(|_| addresses.count(local).unwrap()).all(|c| !c.is_surplus));
        held.truncate(1);
        assert!(!addresses.count(a).unwrap().is_surplus, "places come back");
        held.clear();
        assert!(addresses.counts.lock().unwrap().is_empty(), "who is gone leaves nothing");
    }
}
