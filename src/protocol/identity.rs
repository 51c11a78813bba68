//! Who a client is and what he may do, once that is known. Knows no token and no key.

/// A conversation a token lets its bearer enter: one id, or all that begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationRule {
    /// That one.
    Exact(String),
    /// Written with a `*` at the end.
    Prefix(String),
}

impl ConversationRule {
    /// Reads a rule as the `conversations` claim has it.
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    fn allows(&self, conversation_id: &str) -> bool {
        match self {
            Self::Exact(id) => id == conversation_id,
            Self::Prefix(prefix) => conversation_id.starts_with(prefix),
        }
    }
}

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user; none where authentication is off.
    pub user_id: Option<String>,
    /// Roles, as the token names them.
    pub roles: Vec<String>,
    /// Whether the admin role is among them.
    pub admin: bool,
    /// When the token ends, in seconds since the Unix epoch; none where there is no token.
    pub expires_unix_s: Option<u64>,
    /// When the token was made.
    pub issued_unix_s: Option<u64>,
    /// The token's own id, for revocation.
    pub jti: Option<String>,
    /// Conversations he may enter; none: any.
    pub conversations: Option<Vec<ConversationRule>>,
}

impl Identity {
    /// Someone without a token: whoever is on the server's own machine administrates (protocol section 2).
    pub fn anonymous(loopback: bool) -> Self {
        let roles = if loopback { vec!["admin".to_owned()] } else { Vec::new() };
        Self { roles, admin: loopback, ..Self::default() }
    }

    /// Whether he may enter a conversation. Administrators enter any.
    pub fn may_enter(&self, conversation_id: &str) -> bool {
        self.admin || self.conversations.as_ref().is_none_or(|rules| rules.iter().any(|r| r.allows(conversation_id)))
    }
}

/// An order that tokens be refused from now on: one token by its id, all of a user's that were made by then, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocation {
    /// The token with this id.
    pub jti: Option<String>,
    /// This user's tokens, as far as they were issued at or before `at_unix_s` or do not say when.
    pub user_id: Option<String>,
    /// When it was ordered, in seconds since the Unix epoch.
    pub at_unix_s: u64,
    /// When the last token it is about has ended, where that is known: the order can be forgotten then.
    pub until_unix_s: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_one_id_or_a_prefix_and_no_rule_is_nothing() {
        let mut who = Identity { conversations: Some(Vec::new()), ..Identity::default() };
        assert!(!who.may_enter("team-1"));
        who.conversations = Some(["team-*", "hall"].map(ConversationRule::parse).to_vec());
        for (id, allowed) in [("team-1", true), ("team", false), ("hall", true), ("hall-2", false)] {
            assert_eq!(who.may_enter(id), allowed, "{id}");
        }
        assert!(Identity::default().may_enter("anything"));
        assert!(Identity { admin: true, ..who }.may_enter("other"));
    }
}
