//! Failures.md row 22: every token that must be refused, built by hand.

use proptest::prelude::*;

use super::*;

fn hs() -> Arc<Authenticator> {
    Authenticator::open(&Signer::Hs.config(), now).unwrap()
}

fn b64(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn no_algorithm_is_none() {
    let claims = json!({"sub": "ada", "exp": NOW + 60}).to_string();
    for key in SIGNERS {
        let authenticator = Authenticator::open(&key.config(), now).unwrap();
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            let message = format!("{}.{}", b64(&json!({"alg": alg}).to_string()), b64(&claims));
            let signed = token(key, &json!({"alg": alg}).to_string(), &claims);
            for token in [format!("{message}."), format!("{message}.AAAA"), message, signed] {
                assert_eq!(at_once(&authenticator, token), Err(AuthError::Invalid), "{alg} against {key:?}");
            }
        }
    }
}

#[test]
fn a_public_key_is_never_a_shared_secret() {
    let claims = json!({"sub": "mallory", "exp": NOW + 60, "roles": ["admin"]}).to_string();
    for (key, files) in [
        (Signer::Rsa, ["rsa2048.pub.pem", "rsa2048.pkcs1.pub.pem"]),
        (Signer::Ec, ["p256.pub.pem", "p256.cert.pem"]),
        (Signer::Ed, ["ed25519.pub.pem", "ed25519.pub.pem"]),
    ] {
        let authenticators = [
            Authenticator::open(&key.config(), now).unwrap(),
            Authenticator::open(&AuthConfig { jwks_file: Some(fixture("jwks.json")), ..AuthConfig::default() }, now)
                .unwrap(),
            Authenticator::open(
                &AuthConfig { public_key_file: key.config().public_key_file, ..Signer::Hs.config() },
                now,
            )
            .unwrap(),
        ];
        for file in files {
            let pem = std::fs::read(fixture(file)).unwrap();
            let body: String =
                String::from_utf8(pem.clone()).unwrap().lines().filter(|l| !l.starts_with('-')).collect();
            let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
            let raw = der[der.len() - 32..].to_vec();
            let point = der[der.len().saturating_sub(65)..].to_vec();
            for secret in [pem.clone(), pem.trim_ascii().to_vec(), der, raw, point] {
                let message = format!("{}.{}", b64(r#"{"alg":"HS256"}"#), b64(&claims));
                let signature =
                    crypto::sign(message.as_bytes(), &EncodingKey::from_secret(&secret), Algorithm::HS256).unwrap();
                for authenticator in &authenticators {
                    let answer = at_once(authenticator, format!("{message}.{signature}"));
                    assert_eq!(answer, Err(AuthError::Invalid), "{file}");
                }
            }
        }
    }
}

#[test]
fn the_header_chooses_no_algorithm() {
    let claims = json!({"sub": "ada", "exp": NOW + 60}).to_string();
    for key in SIGNERS {
        let authenticator = Authenticator::open(&key.config(), now).unwrap();
        for alg in
            ["HS384", "HS512", "RS384", "RS512", "PS256", "ES384", "Ed25519", "HS256 ", "hs256", "rs256", "eddsa"]
        {
            let forged = token(key, &json!({"alg": alg}).to_string(), &claims);
            assert_eq!(at_once(&authenticator, forged), Err(AuthError::Invalid), "{alg} against {key:?}");
        }
    }
    // Signed with the right secret, but by a longer hash.
    let message = format!("{}.{}", b64(r#"{"alg":"HS512"}"#), b64(&claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS512).unwrap();
    assert_eq!(at_once(&hs(), format!("{message}.{signature}")), Err(AuthError::Invalid));
}

#[test]
fn headers_with_more_or_less_than_their_meaning_are_refused() {
    let claims = json!({"sub": "ada", "exp": NOW + 60}).to_string();
    for header in [
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":null}"#,
        r#"{"kid":"a"}"#,
        r#"{"alg":"HS256","kid":7}"#,
        r#"{"alg":"HS256"} x"#,
        r#"["HS256"]"#,
        "[]",
        "",
    ] {
        assert_eq!(at_once(&hs(), token(Signer::Hs, header, &claims)), Err(AuthError::Invalid), "{header}");
    }
    at_once(&hs(), token(Signer::Hs, r#"{"alg":"HS256","jwk":{},"x5u":"http://evil"}"#, &claims)).unwrap();
}

#[test]
fn a_token_changed_anywhere_is_refused() {
    let authenticator = hs();
    let good = with_claims(Signer::Hs, &json!({}));
    at_once(&authenticator, good.clone()).unwrap();
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(at_once(&authenticator, changed), Err(AuthError::Invalid), "at {at}");
        assert_eq!(at_once(&authenticator, &good[..at]), Err(AuthError::Invalid), "cut at {at}");
    }
    for more in ["=", "==", ".", " ", "\n", ".AAAA"] {
        assert_eq!(at_once(&authenticator, format!("{good}{more}")), Err(AuthError::Invalid), "{more:?}");
    }
}

#[test]
fn claims_of_another_type_or_out_of_bounds_are_refused() {
    let long = |chars: usize| "x".repeat(chars);
    for changes in [
        json!({"exp": null}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": ["ada"]}),
        json!({"sub": "a\u{0}b"}),
        json!({"sub": "a\nb"}),
        json!({"sub": "a\u{9b}b"}),
        json!({"sub": long(257)}),
        json!({"exp": (NOW + 60).to_string()}),
        json!({"exp": NOW as f64 + 60.5}),
        json!({"exp": NOW as f64 + 60.0}),
        json!({"exp": 1e300}),
        json!({"exp": -1}),
        json!({"exp": (1u64 << 53) + 1}),
        json!({"exp": u64::MAX}),
        json!({"exp": true}),
        json!({"exp": [NOW + 60]}),
        json!({"nbf": NOW + 3_600}),
        json!({"nbf": "0"}),
        json!({"nbf": -1}),
        json!({"iat": NOW + 3_600}),
        json!({"iat": "0"}),
        json!({"roles": "admin"}),
        json!({"roles": {"admin": true}}),
        json!({"roles": [7]}),
        json!({"roles": [""]}),
        json!({"roles": ["a\nb"]}),
        json!({"roles": [long(129)]}),
        json!({"roles": vec!["r"; 65]}),
        json!({"jti": ""}),
        json!({"jti": 7}),
        json!({"jti": long(257)}),
        json!({"conversations": "all"}),
        json!({"conversations": [""]}),
        json!({"conversations": ["a/b"]}),
        json!({"conversations": ["a*b"]}),
        json!({"conversations": [long(65)]}),
        json!({"conversations": vec!["c"; 257]}),
    ] {
        let answer = at_once(&hs(), with_claims(Signer::Hs, &changes));
        assert_eq!(answer, Err(AuthError::Invalid), "{changes}");
    }
    for changes in [
        json!({"sub": long(256)}),
        json!({"sub": "Zoë|auth0 user@example.com"}),
        json!({"exp": 1u64 << 53}),
        json!({"nbf": 0, "iat": 0}),
        json!({"roles": vec!["r"; 64]}),
        json!({"conversations": ["*"]}),
    ] {
        at_once(&hs(), with_claims(Signer::Hs, &changes)).unwrap_or_else(|e| panic!("{changes}: {e}"));
    }
}

#[test]
fn a_claim_that_is_null_or_given_twice_is_refused() {
    let exp = NOW + 60;
    for claims in [
        format!(r#"{{"sub":"ada","exp":{exp},"conversations":null}}"#),
        format!(r#"{{"sub":"ada","exp":{exp},"roles":null}}"#),
        format!(r#"{{"sub":"ada","exp":{exp},"nbf":null}}"#),
        format!(r#"{{"sub":"ada","exp":{exp},"roles":[],"roles":["admin"]}}"#),
        format!(r#"{{"sub":"ada","exp":{exp},"conversations":[],"conversations":["*"]}}"#),
        format!(r#"{{"sub":"ada","exp":{exp},"sub":"eve"}}"#),
        format!(r#"{{"sub":"ada","exp":1,"exp":{exp}}}"#),
        format!(r#"{{"sub":"ada","exp":{exp}"#),
        format!(r#"["ada",{exp}]"#),
        String::new(),
    ] {
        assert_eq!(
            at_once(&hs(), token(Signer::Hs, r#"{"alg":"HS256"}"#, &claims)),
            Err(AuthError::Invalid),
            "{claims}"
        );
    }
}

#[test]
fn issuer_and_audience_must_be_the_configured_ones() {
    let config = AuthConfig {
        issuer: Some("https://id.example.com/".to_owned()),
        audience: Some("voxgate".to_owned()),
        ..Signer::Hs.config()
    };
    let authenticator = Authenticator::open(&config, now).unwrap();
    for (iss, aud, good) in [
        (json!("https://id.example.com/"), json!("voxgate"), true),
        (json!("https://id.example.com/"), json!(["other", "voxgate"]), true),
        (json!("https://id.example.com"), json!("voxgate"), false),
        (json!("https://id.example.com/"), json!("voxgate2"), false),
        (json!("https://id.example.com/"), json!(["other"]), false),
        (json!("https://id.example.com/"), json!([]), false),
        (json!("https://id.example.com/"), json!({"voxgate": 1}), false),
        (json!("https://id.example.com/"), json!(null), false),
        (json!(null), json!("voxgate"), false),
        (json!(["https://id.example.com/"]), json!("voxgate"), false),
    ] {
        let answer = at_once(&authenticator, with_claims(Signer::Hs, &json!({"iss": iss, "aud": aud})));
        assert_eq!(answer.is_ok(), good, "{iss} {aud}: {answer:?}");
        assert!(answer.is_ok() || answer == Err(AuthError::Invalid));
        at_once(&hs(), with_claims(Signer::Hs, &json!({"aud": "anything"}))).expect("unchecked where not configured");
    }
    // A token for others is not told to be old.
    let stranger = with_claims(Signer::Hs, &json!({"aud": "other", "exp": NOW - 3_600}));
    assert_eq!(at_once(&authenticator, stranger), Err(AuthError::Invalid));
}

#[test]
fn leeway_is_given_and_no_more() {
    for leeway_s in [0, 30, 600] {
        let authenticator = Authenticator::open(&AuthConfig { leeway_s, ..Signer::Hs.config() }, now).unwrap();
        let exp = |at: u64| at_once(&authenticator, with_claims(Signer::Hs, &json!({"exp": at}))).err();
        assert_eq!(exp(NOW - leeway_s + 1), None);
        assert_eq!(exp(NOW - leeway_s), Some(AuthError::Expired));
        assert_eq!(exp(0), Some(AuthError::Expired));
        for claim in ["nbf", "iat"] {
            let begins = |at: u64| at_once(&authenticator, with_claims(Signer::Hs, &json!({claim: at}))).err();
            assert_eq!(begins(NOW + leeway_s), None, "{claim}");
            assert_eq!(begins(NOW + leeway_s + 1), Some(AuthError::Invalid), "{claim}");
        }
    }
}

#[test]
fn an_expired_token_is_told_so_only_if_it_was_ours() {
    let old = with_claims(Signer::Hs, &json!({"exp": NOW - 3_600}));
    assert_eq!(at_once(&hs(), old.clone()), Err(AuthError::Expired));
    let cut = old.rfind('.').unwrap();
    assert_eq!(at_once(&hs(), format!("{}.AAAA", &old[..cut])), Err(AuthError::Invalid));
}

#[test]
fn a_token_too_large_is_refused_whoever_signed_it() {
    let fits = with_claims(Signer::Hs, &json!({"pad": "x".repeat(5_900)}));
    assert!(fits.len() <= TOKEN_BYTES_MAX);
    at_once(&hs(), fits).unwrap();
    let large = with_claims(Signer::Hs, &json!({"pad": "x".repeat(6_200)}));
    assert!(large.len() > TOKEN_BYTES_MAX);
    assert_eq!(at_once(&hs(), large), Err(AuthError::Invalid));
}

#[test]
fn one_message_stands_for_every_flaw_and_names_none() {
    assert_eq!(AuthError::Invalid.to_string(), "the token was not accepted");
    assert_eq!(shortened("k\n\u{1b}[31m\"", 64), "k\\n\\u{1b}[31m\\\"");
    assert_eq!(shortened(&"k".repeat(100), 64).len(), 64);
}

proptest! {
    #[test]
    fn no_text_panics_or_is_accepted(text in any::<String>()) {
        prop_assert!(at_once(&hs(), text).is_err());
    }

    #[test]
    fn nothing_in_the_shape_of_a_token_panics_or_is_accepted(
        header in any::<Vec<u8>>(), claims in any::<Vec<u8>>(), signature in any::<Vec<u8>>(),
    ) {
        let parts = [header, claims, signature].map(|p| URL_SAFE_NO_PAD.encode(p));
        prop_assert!(at_once(&hs(), parts.join(".")).is_err());
    }

    #[test]
    fn no_signed_payload_panics(payload in any::<Vec<u8>>()) {
        let message = format!("{}.{}", b64(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(payload));
        let (key, algorithm) = Signer::Hs.key();
        let signature = crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
        let token = format!("{message}.{signature}");
        prop_assert!(at_once(&hs(), token).is_err());
    }

    #[test]
    fn no_bytes_panic_as_a_key_set(bytes in any::<Vec<u8>>()) {
        let _ = jwks::parse(&bytes, Source::Url);
    }

    #[test]
    fn a_log_never_gets_the_token(key in "(%74|t|T)(%6f|o)(k|%6B)en", before in "([a-z]=[a-z]&){0,3}") {
        let shown = redact(&format!("/ws?{before}{key}=sekret")).into_owned();
        prop_assert!(!shown.contains("sekret"), "{}", shown);
    }
}
