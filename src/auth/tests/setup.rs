//! Which keys open, which are refused by name, and which tokens each takes.

use super::*;

fn opened(config: &AuthConfig) -> Arc<Authenticator> {
    Authenticator::open(config, now).unwrap_or_else(|e| panic!("{e}"))
}

fn fault(config: &AuthConfig) -> String {
    let error = Authenticator::open(config, now).expect_err("opened");
    assert_eq!(error.faults.len(), 1, "{error}");
    error.to_string()
}

#[test]
fn each_key_takes_the_tokens_of_its_own_algorithm_and_no_other() {
    for key in SIGNERS {
        let authenticator = opened(&key.config());
        for signer in SIGNERS {
            let answer = at_once(&authenticator, with_claims(signer, &json!({})));
            assert_eq!(answer.is_ok(), key == signer, "{signer:?} against the key of {key:?}: {answer:?}");
        }
    }
}

#[test]
fn a_token_says_who_its_bearer_is() {
    let authenticator = opened(&AuthConfig { admin_role: "boss".to_owned(), ..Signer::Hs.config() });
    let claims = json!({
        "sub": "ada", "roles": ["speaker", "boss"], "iat": NOW - 5, "jti": "t-1", "conversations": ["team-*", "hall"],
        "unknown": {"deep": [1, 2]},
    });
    let who = at_once(&authenticator, with_claims(Signer::Hs, &claims)).unwrap();
    assert_eq!(who.user_id.as_deref(), Some("ada"));
    assert_eq!(who.roles, ["speaker", "boss"]);
    assert!(who.admin);
    assert_eq!(
        (who.expires_unix_s, who.issued_unix_s, who.jti.as_deref()),
        (Some(NOW + 60), Some(NOW - 5), Some("t-1"))
    );
    let guest = Identity { admin: false, ..who };
    assert!(guest.may_enter("team-7") && guest.may_enter("hall") && !guest.may_enter("hall-2"));
    let plain = at_once(&authenticator, with_claims(Signer::Hs, &json!({"roles": null}))).unwrap();
    assert!(!plain.admin && plain.roles.is_empty() && plain.may_enter("anything"));
    let nowhere = at_once(&authenticator, with_claims(Signer::Hs, &json!({"conversations": []}))).unwrap();
    assert!(!nowhere.may_enter("anything"));
}

#[test]
fn roles_and_conversations_may_have_other_names() {
    let config = AuthConfig {
        roles_claim: "https://app.example.com/roles".to_owned(),
        conversations_claim: "rooms".to_owned(),
        ..Signer::Hs.config()
    };
    let authenticator = opened(&config);
    let claims =
        json!({"https://app.example.com/roles": ["admin"], "rooms": ["hall"], "roles": "theirs", "conversations": 7});
    let who = at_once(&authenticator, with_claims(Signer::Hs, &claims)).unwrap();
    assert!(who.admin && who.roles == ["admin"]);
    assert_eq!(who.conversations.map(|rules| rules.len()), Some(1));
    // The usual name has no meaning then.
    let who = at_once(&authenticator, with_claims(Signer::Hs, &json!({"roles": ["admin"]}))).unwrap();
    assert!(!who.admin && who.roles.is_empty());
    let wrong = with_claims(Signer::Hs, &json!({"rooms": "hall"}));
    assert_eq!(at_once(&authenticator, wrong), Err(AuthError::Invalid));
}

#[test]
fn a_secret_may_stand_in_a_file_whose_editor_ended_the_line() {
    let dir = tempfile::tempdir().unwrap();
    for ending in ["", "\n", "\r\n"] {
        let path = dir.path().join("secret");
        std::fs::write(&path, format!("{SECRET}{ending}")).unwrap();
        let authenticator = opened(&AuthConfig { hs256_secret_file: Some(path), ..AuthConfig::default() });
        at_once(&authenticator, with_claims(Signer::Hs, &json!({}))).unwrap();
    }
}

#[test]
fn a_key_set_file_takes_each_of_its_keys_by_name_or_without() {
    let authenticator = opened(&AuthConfig { jwks_file: Some(fixture("jwks.json")), ..AuthConfig::default() });
    for (signer, kid) in [(Signer::Rsa, "rsa-1"), (Signer::Ec, "ec-1"), (Signer::Ed, "ed-1")] {
        at_once(&authenticator, with_kid(signer, kid)).unwrap();
        at_once(&authenticator, with_claims(signer, &json!({}))).unwrap();
        assert_eq!(at_once(&authenticator, with_kid(signer, "other")), Err(AuthError::Invalid));
        assert_eq!(at_once(&authenticator, with_kid(signer, "rsa-1")).is_ok(), signer == Signer::Rsa);
    }
    assert_eq!(at_once(&authenticator, with_claims(Signer::Hs, &json!({}))), Err(AuthError::Invalid));
}

#[test]
fn rsa_keys_come_in_both_pem_forms() {
    let pkcs1 = AuthConfig { public_key_file: Some(fixture("rsa2048.pkcs1.pub.pem")), ..AuthConfig::default() };
    at_once(&opened(&pkcs1), with_claims(Signer::Rsa, &json!({}))).unwrap();
}

#[test]
fn several_keys_may_be_configured_at_once() {
    let config = AuthConfig { jwks_file: Some(fixture("jwks.json")), ..Signer::Hs.config() };
    let authenticator = opened(&config);
    for signer in SIGNERS {
        at_once(&authenticator, with_claims(signer, &json!({}))).unwrap();
    }
}

#[test]
fn a_wrong_public_key_file_is_named_with_what_would_be_right() {
    for (file, wants) in [
        ("rsa2048.pem", "holds a private key (PRIVATE KEY)"),
        ("p256.pem", "openssl pkey -in"),
        ("p256.sec1.pem", "holds a private key (EC PRIVATE KEY)"),
        ("ed25519.pem", "-pubout"),
        ("p256.cert.pem", "openssl x509"),
        ("p384.pub.pem", "not an uncompressed point on P-256"),
        ("rsa1024.pub.pem", "shorter than 2048 bits"),
        ("jwks.json", "no PEM key"),
        ("absent.pem", "cannot read"),
    ] {
        let told = fault(&AuthConfig { public_key_file: Some(fixture(file)), ..AuthConfig::default() });
        assert!(told.starts_with("auth.public_key_file: ") && told.contains(wants), "{file}: {told}");
    }
}

#[test]
fn a_damaged_public_key_file_is_refused_wherever_it_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    for name in ["rsa2048.pub.pem", "p256.pub.pem", "ed25519.pub.pem", "rsa2048.pkcs1.pub.pem"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let end = whole.windows(9).position(|w| w == b"-----END ").unwrap();
        for cut in (0..end).step_by(7) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            fault(&AuthConfig { public_key_file: Some(path.clone()), ..AuthConfig::default() });
            // The end mark is there, a piece of the middle is not.
            if cut > 40 {
                std::fs::write(&path, [&whole[..cut - 13], &whole[cut..]].concat()).unwrap();
                fault(&AuthConfig { public_key_file: Some(path.clone()), ..AuthConfig::default() });
            }
        }
    }
}

#[test]
fn a_secret_that_is_none_is_refused_by_name_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        AuthConfig { hs256_secret_file: Some(path), ..AuthConfig::default() }
    };
    let short = AuthConfig { hs256_secret: Some(Secret::new("hunter2")), ..AuthConfig::default() };
    let pem = std::fs::read(fixture("rsa2048.pub.pem")).unwrap();
    for (config, wants) in [
        (short, "auth.hs256_secret: the secret is 7 bytes, shorter than 32"),
        (file("short", b"0123456789abcdef0123456789abcde\n"), "auth.hs256_secret_file: the secret is 31 bytes"),
        (file("empty", b""), "openssl rand -hex 32"),
        (file("pem", &pem), "auth.hs256_secret_file: it holds a PEM key"),
        (file("large", &[b'x'; 65 * 1024]), "larger than 65536 bytes"),
    ] {
        let told = fault(&config);
        assert!(told.contains(wants) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_key_set_file_without_a_usable_key_says_why_of_each() {
    let set = std::fs::read(fixture("jwks.json")).unwrap();
    let set: Value = serde_json::from_slice(&set).unwrap();
    let key = |at: usize, changes: Value| {
        let mut key = set["keys"][at].clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    let config = AuthConfig { jwks_file: Some(path.clone()), ..AuthConfig::default() };
    let short = URL_SAFE_NO_PAD.encode([1; 16]);
    for (bad, wants) in [
        (key(0, json!({"use": "enc"})), "its use is not sig"),
        (key(0, json!({"alg": "RS512"})), "its alg"),
        (key(0, json!({"alg": "HS256"})), "its alg"),
        (key(0, json!({"d": "AQAB"})), "private key"),
        (key(0, json!({"n": short})), "shorter than 2048 bits"),
        (key(0, json!({"n": "!!"})), "base64url"),
        (key(0, json!({"n": null})), "of no key this server knows"),
        (key(1, json!({"crv": "P-384"})), "not P-256"),
        (key(1, json!({"x": short})), "no point of P-256"),
        (key(2, json!({"crv": "Ed448"})), "of no key this server knows"),
        (key(2, json!({"x": short})), "no key of Ed25519"),
        (key(2, json!({"key_ops": ["sign"]})), "lack verify"),
        (key(2, json!({"kid": "k".repeat(300)})), "kid is too long"),
        (json!({"kty": "oct", "k": short}), "shorter than 32 bytes"),
        (json!({"kty": "AKP", "pub": "x"}), "of no key this server knows"),
        (json!("key"), "not those of a key"),
    ] {
        std::fs::write(&path, json!({"keys": [bad]}).to_string()).unwrap();
        let told = fault(&config);
        assert!(told.starts_with("auth.jwks_file: ") && told.contains(wants), "{bad}: {told}");
        std::fs::write(&path, json!({"keys": [bad, set["keys"][1]]}).to_string()).unwrap();
        at_once(&opened(&config), with_kid(Signer::Ec, "ec-1")).expect("one odd key shuts nobody out");
    }
    for document in ["", "[]", "[[]]", "{}", r#"{"keys":[]}"#, r#"{"keys":{}}"#, "\u{0}"] {
        std::fs::write(&path, document).unwrap();
        fault(&config);
    }
    let many = vec![set["keys"][2].clone(); jwks::KEYS_MAX + 1];
    std::fs::write(&path, json!({"keys": many}).to_string()).unwrap();
    assert!(fault(&config).contains("65 keys"));
}

#[test]
fn a_shared_secret_in_a_key_set_file_is_bound_to_hs256() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    let key = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "kid": "s-1"});
    std::fs::write(&path, json!({"keys": [key]}).to_string()).unwrap();
    let authenticator = opened(&AuthConfig { jwks_file: Some(path), ..AuthConfig::default() });
    at_once(&authenticator, with_kid(Signer::Hs, "s-1")).unwrap();
    assert!(jwks::parse(json!({"keys": [key]}).to_string().as_bytes(), Source::Url).is_err());
}

#[test]
fn all_faults_are_told_at_once() {
    let config = AuthConfig {
        hs256_secret: Some(Secret::new("short")),
        public_key_file: Some(fixture("p256.pem")),
        jwks_file: Some(fixture("absent.json")),
        jwks_url: Some(ServiceUrl::new("https://user:hunter2@/")),
        ..AuthConfig::default()
    };
    let error = Authenticator::open(&config, now).unwrap_err();
    assert_eq!(error.faults.len(), 4, "{error}");
    for setting in ["auth.hs256_secret", "auth.public_key_file", "auth.jwks_file", "auth.jwks_url"] {
        assert!(error.to_string().contains(setting), "{error}");
    }
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(Authenticator::open(&AuthConfig::default(), now).unwrap_err().faults, [KeyFault::NoKey]);
}

#[test]
fn nothing_that_displays_an_authenticator_shows_a_key() {
    let shown = format!("{:?}", opened(&Signer::Hs.config()));
    assert!(!shown.contains(SECRET), "{shown}");
}
