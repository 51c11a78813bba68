//! Failures.md row 21: what is revoked is refused, at the door and on a live connection.

use super::*;

fn authenticator() -> Arc<Authenticator> {
    Authenticator::open(&Signer::Hs.config(), now).unwrap()
}

fn of_token(jti: &str) -> Revocation {
    Revocation { jti: Some(jti.to_owned()), at_unix_s: NOW, ..Revocation::default() }
}

fn of_user(user: &str, at_unix_s: u64) -> Revocation {
    Revocation { user_id: Some(user.to_owned()), at_unix_s, ..Revocation::default() }
}

#[test]
fn one_token_by_its_id() {
    let authenticator = authenticator();
    let token = |jti: Value| with_claims(Signer::Hs, &json!({"jti": jti, "iat": NOW}));
    let live = at_once(&authenticator, token(json!("t-1"))).unwrap();
    assert!(!authenticator.is_revoked(&live));
    authenticator.revoke(of_token("t-1")).unwrap();
    assert!(authenticator.is_revoked(&live));
    assert_eq!(at_once(&authenticator, token(json!("t-1"))), Err(AuthError::Revoked));
    at_once(&authenticator, token(json!("t-2"))).unwrap();
    at_once(&authenticator, token(json!(null))).unwrap();
}

#[test]
fn a_users_tokens_by_when_they_were_made() {
    let authenticator = authenticator();
    authenticator.revoke(of_user("ada", NOW - 10)).unwrap();
    let answer =
        |sub: &str, iat: Value| at_once(&authenticator, with_claims(Signer::Hs, &json!({"sub": sub, "iat": iat})));
    for (sub, iat, refused) in [
        ("ada", json!(NOW - 11), true),
        ("ada", json!(NOW - 10), true),
        ("ada", json!(null), true),
        ("ada", json!(NOW - 9), false),
        ("eve", json!(NOW - 11), false),
        ("eve", json!(null), false),
    ] {
        let answer = answer(sub, iat.clone());
        assert_eq!(answer.is_err(), refused, "{sub} {iat}");
        assert!(answer.is_ok() || answer == Err(AuthError::Revoked));
    }
    // An older order takes nothing back.
    authenticator.revoke(of_user("ada", NOW - 100)).unwrap();
    assert_eq!(answer("ada", json!(NOW - 11)), Err(AuthError::Revoked));
}

#[test]
fn whoever_has_no_token_has_none_that_could_be_revoked() {
    let authenticator = authenticator();
    authenticator.revoke(of_user("ada", NOW)).unwrap();
    assert!(!authenticator.is_revoked(&Identity::anonymous(true)));
}

#[test]
fn orders_are_loaded_and_forgotten_once_their_tokens_are_over() {
    let authenticator = authenticator();
    let until = |jti: &str, until_unix_s| Revocation { until_unix_s: Some(until_unix_s), ..of_token(jti) };
    let leeway_s = AuthConfig::default().leeway_s;
    authenticator
        .load([
            until("over", NOW - leeway_s),
            until("nearly", NOW - leeway_s + 1),
            until("later", NOW + 5),
            of_token("ever"),
        ])
        .unwrap();
    assert_eq!(authenticator.revoked.len(), 3);
    assert_eq!(at_once(&authenticator, with_claims(Signer::Hs, &json!({"jti": "ever"}))), Err(AuthError::Revoked));
    // Ordered again without an end, it has none.
    authenticator.revoke(of_token("later")).unwrap();
    authenticator.revoked.forget_ended(NOW + 1_000);
    assert_eq!(authenticator.revoked.len(), 2);
}

#[test]
fn a_full_table_forgets_what_is_over_and_never_what_is_in_force() {
    let authenticator = authenticator();
    let order = |n: usize, until_unix_s| Revocation { until_unix_s, ..of_token(&format!("t-{n}")) };
    authenticator.load((1..REVOCATIONS_MAX).map(|n| order(n, None))).unwrap();
    authenticator.revoke(order(0, Some(NOW - 1_000))).unwrap();
    authenticator.revoke(of_token("new")).unwrap();
    assert_eq!(authenticator.revoke(of_token("one too many")), Err(RevocationsFull));
    assert_eq!(authenticator.revoked.len(), REVOCATIONS_MAX);
    assert_eq!(at_once(&authenticator, with_claims(Signer::Hs, &json!({"jti": "t-1"}))), Err(AuthError::Revoked));
}
