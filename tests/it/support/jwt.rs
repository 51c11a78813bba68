//! Servers that ask for tokens, and the tokens: HS256 with a secret everybody here knows.

use futures_util::StreamExt;
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use voxgate::auth::{NewToken, sign_hs256};
use voxgate::clock::unix_s;
use voxgate::config::{AuthMode, Config, Secret};

use super::{Client, TestServer};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A configuration change: tokens are asked for.
pub fn jwt(config: &mut Config) {
    config.auth.mode = AuthMode::Jwt;
    config.auth.hs256_secret = Some(Secret::new(SECRET));
}

/// A token of an hour, changed as needed.
pub fn token_with(user: &str, change: impl FnOnce(&mut NewToken)) -> String {
    let now = unix_s();
    let mut token = NewToken { sub: user.to_owned(), iat: now, exp: now + 3_600, ..NewToken::default() };
    change(&mut token);
    sign_hs256(&token, SECRET.as_bytes()).unwrap()
}

pub fn token(user: &str) -> String {
    token_with(user, |_| ())
}

pub fn admin_token(user: &str) -> String {
    token_with(user, |t| t.roles = vec!["admin".to_owned()])
}

/// The header line of a request with a token.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

impl TestServer {
    pub fn with_tokens() -> Self {
        Self::with(jwt)
    }

    /// Connects with a token in the header.
    pub async fn connect_as(&self, path: &str, token: &str) -> Client {
        self.upgrade(path, &[("Authorization", &format!("Bearer {token}"))]).await.unwrap()
    }

    /// A handshake with headers; where it is refused, status, body and the answer to whom one may authenticate.
    pub async fn upgrade(&self, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, (u16, Value, String)> {
        let mut request = format!("ws://{}{path}", self.addr).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((mut ws, response)) => {
                let hello = match ws.next().await {
                    Some(Ok(Message::Text(t))) => serde_json::from_str(&t).unwrap(),
                    Some(Ok(Message::Close(Some(f)))) => Value::from(u16::from(f.code)),
                    other => panic!("a hello, not {other:?}"),
                };
                let chosen = response.headers().get("Sec-WebSocket-Protocol");
                let subprotocol = chosen.map(|v| v.to_str().unwrap().to_owned());
                Ok(Client { subprotocol, ..Client::over(ws, hello) })
            }
            Err(Error::Http(response)) => {
                let challenge = response.headers().get("WWW-Authenticate");
                let challenge = challenge.map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
                let body = response.body().as_deref().unwrap_or_default();
                Err((response.status().as_u16(), serde_json::from_slice(body).unwrap(), challenge))
            }
            Err(e) => panic!("{e}"),
        }
    }
}
