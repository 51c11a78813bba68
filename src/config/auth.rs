//! `[auth]`: who may connect.

use std::path::PathBuf;

use super::check::Checker;
use super::secret::{Secret, ServiceUrl};
use super::setting::{choice, section};

choice! {
    /// How clients prove who they are.
    AuthMode, "\"none\" or \"jwt\"" {
        /// They do not; loopback only, unless the operator insists.
        None,
        /// By a JSON Web Token.
        Jwt,
    }
}

section! {
    /// Who may connect.
    AuthConfig {
        /// How clients prove who they are.
        mode: AuthMode = AuthMode::None,
        /// Shared secret of HS256 tokens.
        hs256_secret: Option<Secret> = None,
        /// File that holds the shared secret.
        hs256_secret_file: Option<PathBuf> = None,
        /// Public key of RS256, ES256 or EdDSA tokens, PEM.
        public_key_file: Option<PathBuf> = None,
        /// JSON Web Key Set in a file.
        jwks_file: Option<PathBuf> = None,
        /// JSON Web Key Set at an address.
        jwks_url: Option<ServiceUrl> = None,
        /// Required `iss` claim.
        issuer: Option<String> = None,
        /// Required `aud` claim.
        audience: Option<String> = None,
        /// Clock difference forgiven in `exp` and `nbf`: hosts kept by NTP differ by far less.
        leeway_s: u64 = 30,
        /// The role that administrates.
        admin_role: String = "admin".to_owned(),
        /// The claim that lists the roles: some providers keep `roles` for themselves.
        roles_claim: String = "roles".to_owned(),
        /// The claim that lists the conversations.
        conversations_claim: String = "conversations".to_owned(),
    }
}

/// RFC 7518 section 3.2: a key at least as long as the hash.
pub const HS256_SECRET_BYTES_MIN: usize = 32;
/// Claims that mean something else (RFC 7519 section 4.1).
const REGISTERED_CLAIMS: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
/// More forgiveness than this makes `exp` meaningless.
const LEEWAY_S_MAX: u64 = 600;

impl AuthConfig {
    pub(super) fn check(&self, checker: &mut Checker<'_>) {
        let sources = [
            self.hs256_secret.is_some(),
            self.hs256_secret_file.is_some(),
            self.public_key_file.is_some(),
            self.jwks_file.is_some(),
            self.jwks_url.is_some(),
        ];
        if self.mode == AuthMode::Jwt && !sources.contains(&true) {
            checker.fault(
                "auth.mode",
                "\"jwt\" needs a key to check tokens with",
                "set one of auth.hs256_secret, hs256_secret_file, public_key_file, jwks_file, jwks_url",
            );
        }
        if self.hs256_secret.is_some() && self.hs256_secret_file.is_some() {
            checker.fault("auth.hs256_secret_file", "auth.hs256_secret is set as well", "keep one of the two");
        }
        if let Some(secret) = &self.hs256_secret
            && secret.expose().len() < HS256_SECRET_BYTES_MIN
        {
            checker.fault(
                "auth.hs256_secret",
                format!("shorter than {HS256_SECRET_BYTES_MIN} bytes"),
                "make one with: openssl rand -hex 32",
            );
        }
        checker.file("auth.hs256_secret_file", self.hs256_secret_file.as_deref());
        checker.file("auth.public_key_file", self.public_key_file.as_deref());
        checker.file("auth.jwks_file", self.jwks_file.as_deref());
        if let Some(url) = &self.jwks_url {
            super::services::check_http_url("auth.jwks_url", url, checker);
        }
        checker.range("auth.leeway_s", self.leeway_s, 0..=LEEWAY_S_MAX);
        if self.admin_role.is_empty() {
            checker.fault("auth.admin_role", "an empty role is nobody's", "name the role, such as \"admin\"");
        }
        for (key, claim) in
            [("auth.roles_claim", &self.roles_claim), ("auth.conversations_claim", &self.conversations_claim)]
        {
            if claim.is_empty() || REGISTERED_CLAIMS.contains(&claim.as_str()) {
                checker.fault(
                    key,
                    format!("'{claim}' cannot be its name"),
                    "name a claim of your own, such as \"https://app.example.com/roles\"",
                );
            }
        }
        if self.roles_claim == self.conversations_claim {
            checker.fault("auth.conversations_claim", "auth.roles_claim has the same name", "give each its own");
        }
    }
}
