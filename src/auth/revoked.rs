//! Tokens and users whose tokens are no longer good. A lookup takes a read lock and two hash lookups, and none while nothing was ever
//! revoked. Knows no store: what must survive a restart is loaded from outside.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::protocol::{Identity, Revocation};

/// Entries kept: some 20 MB at worst. Whoever revokes more than this should change the key.
pub const REVOCATIONS_MAX: usize = 100_000;

/// There is no room: nothing was revoked. The operator's to cure: change the key, or wait for orders to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{REVOCATIONS_MAX} revocations are in force already: change the key that signs tokens")]
pub struct RevocationsFull;

#[derive(Clone, Copy, Debug)]
struct Entry {
    at_unix_s: u64,
    until_unix_s: Option<u64>,
}

impl Entry {
    /// Both orders in one: it reaches as far as the later and lasts as long as the longer.
    fn merged(self, other: Self) -> Self {
        let until_unix_s = self.until_unix_s.zip(other.until_unix_s).map(|(a, b)| a.max(b));
        Self { at_unix_s: self.at_unix_s.max(other.at_unix_s), until_unix_s }
    }
}

#[derive(Debug, Default)]
struct Tables {
    tokens: HashMap<String, Entry>,
    users: HashMap<String, Entry>,
}

impl Tables {
    fn len(&self) -> usize {
        self.tokens.len() + self.users.len()
    }

    fn forget_ended(&mut self, now_unix_s: u64, leeway_s: u64) {
        let in_force = |e: &Entry| e.until_unix_s.is_none_or(|until| now_unix_s < until.saturating_add(leeway_s));
        self.tokens.retain(|_, e| in_force(e));
        self.users.retain(|_, e| in_force(e));
    }

    fn insert(&mut self, order: Revocation) {
        let entry = Entry { at_unix_s: order.at_unix_s, until_unix_s: order.until_unix_s };
        for (table, name) in [(&mut self.tokens, order.jti), (&mut self.users, order.user_id)] {
            if let Some(name) = name {
                table.entry(name).and_modify(|e| *e = e.merged(entry)).or_insert(entry);
            }
        }
    }
}

/// All orders in force.
#[derive(Debug)]
pub(super) struct Revoked {
    leeway_s: u64,
    /// Set with the first order and for good: most servers never take the lock.
    any: AtomicBool,
    tables: RwLock<Tables>,
}

impl Revoked {
    /// `leeway_s`: how long a token is good past its end.
    pub(super) fn new(leeway_s: u64) -> Self {
        Self { leeway_s, any: AtomicBool::new(false), tables: RwLock::default() }
    }

    pub(super) fn add(&self, order: Revocation, now_unix_s: u64) -> Result<(), RevocationsFull> {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let needed = usize::from(order.jti.is_some()) + usize::from(order.user_id.is_some());
        if tables.len() + needed > REVOCATIONS_MAX {
            tables.forget_ended(now_unix_s, self.leeway_s);
        }
        if tables.len() + needed > REVOCATIONS_MAX {
            return Err(RevocationsFull);
        }
        tables.insert(order);
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn contains(&self, who: &Identity) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let by_token = who.jti.as_ref().is_some_and(|jti| tables.tokens.contains_key(jti));
        let by_user = who.user_id.as_ref().and_then(|user| tables.users.get(user)).is_some_and(|order| {
            // A token that does not say when it was made may have been made before.
            who.issued_unix_s.is_none_or(|issued| issued <= order.at_unix_s)
        });
        by_token || by_user
    }

    pub(super) fn forget_ended(&self, now_unix_s: u64) {
        self.tables.write().unwrap_or_else(PoisonError::into_inner).forget_ended(now_unix_s, self.leeway_s);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}
