//! Public keys and secrets from files. Says exactly what is wrong with a file; never shows what it holds.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};

use super::error::KeyFault;
use super::keys::{Key, KeyKind};
use crate::config::HS256_SECRET_BYTES_MIN;

/// A 16,384-bit RSA key as PEM is 3 KB; more is another file.
pub(super) const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// NIST SP 800-131A: shorter RSA keys are not to be used.
pub(super) const RSA_BITS_MIN: usize = 2_048;
/// What the crypto library verifies with at most.
pub(super) const RSA_BITS_MAX: usize = 8_192;

const SETTING: &str = "auth.public_key_file";
const HINT: &str = "give a PEM public key: RSA of 2048 bits or more, EC on P-256, or Ed25519";

/// `SubjectPublicKeyInfo` of an uncompressed point on P-256, up to the point (RFC 5480).
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// `SubjectPublicKeyInfo` of an Ed25519 key, up to the key (RFC 8410).
const SPKI_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// `id-ecPublicKey` (RFC 5480) and `rsaEncryption` (RFC 8017) as they stand in DER.
const OID_EC: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_RSA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// Reads a small file whole.
pub(super) fn read_file(setting: &'static str, path: &Path, bytes_max: u64) -> Result<Vec<u8>, KeyFault> {
    let unreadable = |e: std::io::Error| KeyFault::Unreadable { setting, path: path.to_owned(), kind: e.kind() };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(KeyFault::TooLarge { setting, path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}

/// A shared secret. One newline at the end of a file is the editor's, not the secret's: the caller has taken it away.
pub(super) fn secret(setting: &'static str, secret: &[u8]) -> Result<Key, KeyFault> {
    if secret.windows(11).any(|w| w == b"-----BEGIN ") {
        return Err(KeyFault::SecretIsPem { setting });
    }
    if secret.len() < HS256_SECRET_BYTES_MIN {
        return Err(KeyFault::ShortSecret { setting, bytes: secret.len(), bytes_min: HS256_SECRET_BYTES_MIN });
    }
    Ok(Key { kind: KeyKind::Hs256, kid: None, key: DecodingKey::from_secret(secret) })
}

/// A shared secret in a file, without the newline that ends it.
///
/// # Errors
/// [`KeyFault`]: unreadable, shorter than 32 bytes, or a PEM key.
pub(super) fn secret_file_bytes(setting: &'static str, path: &Path) -> Result<Vec<u8>, KeyFault> {
    let mut bytes = read_file(setting, path, KEY_FILE_BYTES_MAX)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}

/// The public key in a PEM file.
pub(super) fn public_key_file(path: &Path) -> Result<Key, KeyFault> {
    let text = read_file(SETTING, path, KEY_FILE_BYTES_MAX)?;
    public_key(path, &text)
}

fn public_key(path: &Path, text: &[u8]) -> Result<Key, KeyFault> {
    let unusable = |problem: &str, hint| KeyFault::Unusable {
        setting: SETTING,
        path: path.to_owned(),
        problem: problem.to_owned(),
        hint,
    };
    let no_pem = || unusable("no PEM key is in it", HINT);
    let text = std::str::from_utf8(text).map_err(|_| no_pem())?;
    let blocks: Vec<Block<'_>> = blocks(text).collect();
    if let Some(private) = blocks.iter().find(|b| b.label.ends_with("PRIVATE KEY")) {
        return Err(KeyFault::PrivateKey { path: path.to_owned(), label: private.label.to_owned() });
    }
    let block = match blocks.as_slice() {
        [] => return Err(no_pem()),
        [block] => block,
        _ => return Err(unusable("more than one PEM block is in it", "keep one public key, or use auth.jwks_file")),
    };
    match block.label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        "CERTIFICATE" => {
            let hint = "take its key out: openssl x509 -in FILE -noout -pubkey";
            return Err(unusable("it is a certificate, not a key", hint));
        }
        _ => return Err(unusable("its PEM block is no public key", HINT)),
    }
    let der = block.der().ok_or_else(|| unusable("its PEM block is damaged", HINT))?;
    let spki = block.label == "PUBLIC KEY";
    classify(&der, spki, text).map_err(|problem| unusable(problem, HINT))
}

/// The key in a DER public key, by its own type.
fn classify(der: &[u8], spki: bool, pem: &str) -> Result<Key, &'static str> {
    let contains = |oid: &[u8]| der.windows(oid.len()).any(|w| w == oid);
    if spki && der.len() == SPKI_P256.len() + 65 && der.starts_with(&SPKI_P256) && der[SPKI_P256.len()] == 4 {
        let key = DecodingKey::from_ec_der(&der[SPKI_P256.len()..]);
        Ok(Key { kind: KeyKind::Es256, kid: None, key })
    } else if spki && der.len() == SPKI_ED25519.len() + 32 && der.starts_with(&SPKI_ED25519) {
        let key = DecodingKey::from_ed_der(&der[SPKI_ED25519.len()..]);
        Ok(Key { kind: KeyKind::EdDsa, kid: None, key })
    } else if !spki || contains(&OID_RSA) {
        let key = DecodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| "its RSA key is damaged")?;
        let jwk = Jwk::from_decoding_key(&key, None).map_err(|_| "its RSA key is damaged")?;
        let AlgorithmParameters::RSA(parameters) = jwk.algorithm else { return Err("its RSA key is damaged") };
        check_rsa_modulus(&parameters.n)?;
        Ok(Key { kind: KeyKind::Rs256, kid: None, key })
    } else if contains(&OID_EC) {
        Err("its EC key is not an uncompressed point on P-256")
    } else {
        Err("its key is of a type that signs no token here")
    }
}

/// Whether an RSA key has a length it may be used with. `n` is the modulus in base64url.
pub(super) fn check_rsa_modulus(n: &str) -> Result<(), &'static str> {
    let n = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(n).map_err(|_| "its RSA key is damaged")?;
    let n = &n[n.iter().take_while(|b| **b == 0).count()..];
    let bits = n.first().map_or(0, |top| n.len() * 8 - top.leading_zeros() as usize);
    match bits {
        b if b < RSA_BITS_MIN => Err("its RSA key is shorter than 2048 bits"),
        b if b > RSA_BITS_MAX => Err("its RSA key is longer than 8192 bits"),
        _ => Ok(()),
    }
}

/// A PEM block (RFC 7468).
struct Block<'a> {
    label: &'a str,
    body: &'a str,
}

impl Block<'_> {
    fn der(&self) -> Option<Vec<u8>> {
        let base64: String = self.body.split_ascii_whitespace().collect();
        STANDARD.decode(base64).ok()
    }
}

fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    text.split("-----BEGIN ").skip(1).filter_map(|rest| {
        let (label, rest) = rest.split_once("-----")?;
        let (body, _) = rest.split_once("-----END ")?;
        Some(Block { label, body })
    })
}
