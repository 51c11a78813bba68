//! `voxgate token`: a token for trying things, signed with a shared secret.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::{Failure, terminal};
use crate::auth::{NewToken, read_secret, sign_hs256};
use crate::clock;

/// Print a JSON Web Token for a user, signed with a shared secret (HS256).
///
/// For trying things: whoever has the secret can be anyone. The token alone goes to standard output. A secret on the command line
/// can be read by every user of the machine; --secret-file keeps it to the file.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  openssl rand -hex 32 > secret\n  voxgate token --user ada --role admin --ttl 15m \
                  --secret-file secret\n  voxgate replay speech.webm --token \"$(voxgate token --user ada --secret-file secret)\""
)]
#[command(group = clap::ArgGroup::new("key").required(true).args(["secret", "secret_file"]))]
pub(super) struct Args {
    /// The user: the token's sub.
    #[arg(long, value_name = "ID")]
    user: String,
    /// A role of his; may be given several times.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// How long it is good: 30s, 15m, 1h, 7d.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
    /// A conversation he may enter, or all that begin alike: team-*; may be given several times [default: any].
    #[arg(long = "conversation", value_name = "RULE")]
    conversations: Vec<String>,
    /// Its id, by which it can be revoked [default: a new UUID].
    #[arg(long, value_name = "ID")]
    jti: Option<String>,
    /// Whom it is for: the server's auth.audience.
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Who made it: the server's auth.issuer.
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// The shared secret: the server's auth.hs256_secret.
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,
    /// File that holds the shared secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// A time such as 15m.
fn ttl(text: &str) -> Result<Duration, String> {
    let wrong = || "use a number and a unit: 30s, 15m, 1h, 7d".to_owned();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit_at);
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let seconds =
        number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit_s)).filter(|s| *s > 0).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

impl Args {
    fn token(self, now_unix_s: u64) -> NewToken {
        NewToken {
            sub: self.user,
            roles: self.roles,
            iat: now_unix_s,
            exp: now_unix_s.saturating_add(self.ttl.as_secs()),
            iss: self.issuer,
            aud: self.audience,
            jti: Some(self.jti.unwrap_or_else(|| uuid::Uuid::new_v4().to_string())),
            conversations: (!self.conversations.is_empty()).then_some(self.conversations),
        }
    }
}

pub(super) fn run(mut args: Args) -> Result<(), Failure> {
    let usage = |e: anyhow::Error| Failure::Usage(e);
    let secret = match (args.secret.take(), args.secret_file.take()) {
        (Some(secret), _) => secret.into_bytes(),
        (None, Some(path)) => read_secret(&path).map_err(|e| usage(e.into()))?,
        (None, None) => return Err(usage(anyhow!("give --secret or --secret-file"))),
    };
    let token = sign_hs256(&args.token(clock::unix_s()), &secret).map_err(|e| usage(e.into()))?;
    Ok(terminal::print(&format!("{token}\n")).context("standard output")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in [("30s", 30), ("15m", 900), ("1h", 3_600), ("7d", 604_800)] {
            assert_eq!(ttl(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in
            ["", "1", "h", "0s", "1w", "-1h", "1.5h", "1 h", "1hh", "99999999999999999999s", "9999999999999999999d"]
        {
            assert!(ttl(bad).is_err(), "{bad}");
        }
    }
}
