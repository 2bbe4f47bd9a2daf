//! A hook's request: headers from a secret, and the signature by which its receiver knows that it is ours.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use rollout::release::integrations::HookCall;
use sha2::Sha256;

use crate::http_delivery::{Hidden, Refused};
use crate::secrets::Secrets;

/// When the body was signed, in Unix seconds.
pub(crate) const TIMESTAMP: &str = "x-serin-timestamp";
/// `sha256=` and the HMAC in hexadecimal digits.
pub(crate) const SIGNATURE: &str = "x-serin-signature";
/// The key of the secret that signs.
const SIGNING_KEY: &str = "key";
/// What no secret may set: it belongs to the body and to the connection.
const OURS: [HeaderName; 8] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::EXPECT,
    header::HOST,
];

/// The headers of one attempt. Reads files. Whatever is secret in them becomes hidden.
///
/// # Errors
/// When a secret is missing or is not a valid header; the text shows no value.
pub(crate) fn headers(
    call: &HookCall,
    body: &[u8],
    secrets: &Secrets,
    hidden: &mut Hidden,
) -> Result<HeaderMap, Refused> {
    let missing = |error| Refused::finally(format!("{error}"));
    let mut headers = HeaderMap::new();
    if let Some(secret) = &call.headers {
        for (key, value) in secrets.all(secret).map_err(missing)? {
            let wrong = |rule| {
                let text = format!("headers from secret {}/{}: key {key:?} {rule}", secret.namespace, secret.name);
                Refused::finally(Hidden::default().clean(&text))
            };
            let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong("is not a valid header name"))?;
            if OURS.contains(&name) || name.as_str().starts_with("x-serin-") {
                return Err(wrong("names a header that only the agent may set; rename it"));
            }
            hidden.add(value.reveal());
            let mut value = HeaderValue::from_str(value.reveal())
                .map_err(|_| wrong("has a value that no header can have: it must be one line of visible characters"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(secret) = &call.signature {
        let key = secrets.value(secret, SIGNING_KEY).map_err(missing)?;
        if key.reveal().is_empty() {
            return Err(Refused::finally(format!("secret {}/{}: key \"key\" is empty", secret.namespace, secret.name)));
        }
        hidden.add(key.reveal());
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = signature(key.reveal().as_bytes(), at, body)?;
        headers.insert(TIMESTAMP, HeaderValue::from(at));
        headers.insert(SIGNATURE, signature);
    }
    Ok(headers)
}

/// HMAC-SHA256 over `TIMESTAMP.BODY`: the timestamp's digits, a dot, and the body as it is sent. The timestamp is in it so
/// that a receiver can refuse what was recorded and sent again later.
fn signature(key: &[u8], at: u64, body: &[u8]) -> Result<HeaderValue, Refused> {
    let failed = || Refused::finally("its body cannot be signed");
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_| failed())?;
    mac.update(at.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let code = Bytes::copy_from_slice(&mac.finalize().into_bytes());
    HeaderValue::from_str(&format!("sha256={code:x}")).map_err(|_| failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_timestamp_and_body() {
        // Calculated with: printf '1700000000.{"name":"web"}' | openssl dgst -sha256 -hmac s3cret
        let value = signature(b"s3cret", 1_700_000_000, br#"{"name":"web"}"#).unwrap();
        assert_eq!(value.to_str().unwrap(), "sha256=cc42fb664d21d8ab4480d78f1195e2a30526a46999d66cff3b85e6c5d7e7d41c");
    }
}
