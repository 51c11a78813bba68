//! The command line as an operator runs it: `token` and `check`, the library that takes what they make, and what is said where a
//! command cannot do its work.

use std::path::PathBuf;
use std::process::{Command, Output};

use voxgate::auth::{AuthError, Authenticator};
use voxgate::clock;
use voxgate::config::{AuthConfig, Secret};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn voxgate(arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_voxgate")).args(arguments).current_dir(dir.path()).output().unwrap()
}

fn key(name: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/keys")).join(name);
    path.to_str().unwrap().to_owned()
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn the_token_alone_is_printed_and_a_server_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let config = AuthConfig {
        hs256_secret: Some(Secret::new(SECRET)),
        audience: Some("voxgate".to_owned()),
        issuer: Some("me".to_owned()),
        ..AuthConfig::default()
    };
    let authenticator = Authenticator::open(&config, clock::unix_s).unwrap();
    for secret in [["--secret", SECRET], ["--secret-file", file.to_str().unwrap()]] {
        let claims = "token --user ada --role admin --role speaker --ttl 15m --conversation team-* --jti t-1 --audience voxgate --issuer me";
        let arguments: Vec<&str> = claims.split(' ').chain(secret).collect();
        let output = voxgate(&arguments);
        assert!(output.status.success(), "{}", told(&output));
        assert_eq!(told(&output), "");
        let token = String::from_utf8(output.stdout).unwrap();
        assert_eq!(token.lines().count(), 1);
        let who = authenticator.verify(token.trim_end().to_owned()).await.unwrap();
        assert_eq!((who.user_id.as_deref(), who.jti.as_deref(), who.admin), (Some("ada"), Some("t-1"), true));
        assert_eq!(who.roles, ["admin", "speaker"]);
        assert_eq!(who.expires_unix_s.unwrap() - who.issued_unix_s.unwrap(), 900);
    }
    let for_nobody = voxgate(&["token", "--user", "ada", "--secret", SECRET]);
    let token = String::from_utf8(for_nobody.stdout).unwrap();
    assert_eq!(authenticator.verify(token.trim_end().to_owned()).await, Err(AuthError::Invalid));
}

#[test]
fn a_token_no_server_would_take_is_not_made() {
    let long = "x".repeat(257);
    for (arguments, wants) in [
        (vec!["--user", "ada", "--secret", "hunter2"], "openssl rand -hex 32"),
        (vec!["--user", "", "--secret", SECRET], "sub: 1 to 256 characters"),
        (vec!["--user", &long, "--secret", SECRET], "sub: 1 to 256 characters"),
        (vec!["--user", "ada", "--conversation", "a/b", "--secret", SECRET], "conversations: ids, or prefixes"),
        (vec!["--user", "ada", "--secret-file", "absent"], "--secret-file: cannot read absent"),
        (vec!["--user", "ada", "--secret-file", &key("p256.pem")], "PEM key"),
    ] {
        let output = voxgate(&[vec!["token"], arguments].concat());
        let told = told(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(output.stdout.is_empty() && told.contains(wants) && !told.contains("hunter2"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn check_opens_the_keys() {
    let check = |setting: &str, value: &str| {
        let environment = [("VOXGATE__AUTH__MODE", "jwt"), (setting, value)];
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_voxgate"));
        command.arg("check").current_dir(dir.path()).envs(environment).output().unwrap()
    };
    const PUBLIC: &str = "VOXGATE__AUTH__PUBLIC_KEY_FILE";
    let good = check(PUBLIC, &key("ed25519.pub.pem"));
    assert!(good.status.success(), "{}", told(&good));
    // Nobody listens there, and nobody is asked.
    let address = check("VOXGATE__AUTH__JWKS_URL", "http://127.0.0.1:1/jwks.json");
    assert!(address.status.success(), "{}", told(&address));
    let private = check(PUBLIC, &key("ed25519.pem"));
    assert_eq!(private.status.code(), Some(1));
    assert!(
        told(&private).contains("auth.public_key_file") && told(&private).contains("openssl pkey"),
        "{}",
        told(&private)
    );
    let set = check("VOXGATE__AUTH__JWKS_FILE", &key("p256.pub.pem"));
    assert_eq!(set.status.code(), Some(1));
    assert!(told(&set).contains("auth.jwks_file") && told(&set).contains("no JSON Web Key Set"), "{}", told(&set));
}

#[test]
fn what_cannot_be_done_is_said_once_and_with_its_reason() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = voxgate(&["serve", "--bind", &address, "--data-dir", "data"]);
    let text = told(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let error = text.lines().find(|l| l.starts_with("error:")).expect("an error");
    assert!(error.contains(&address) && error.matches("in use").count() == 1, "{error}");
    let noise = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/make.sh");
    let output = voxgate(&["decode", noise, "-o", "out.wav"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("--encoding"), "{}", told(&output));
    let output = voxgate(&["bench", "--url", &format!("ws://{address}/ws"), "--server-pid", "4194305"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("no process 4194305"), "{}", told(&output));
}
