//! Tokens to log in with (OAUTHBEARER), from a file that something else keeps fresh.

use std::error::Error;
use std::ffi::CString;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::bindings as native;
use rdkafka::client::OAuthToken;
use rdkafka::config::ClientConfig;
use rdkafka::types::{RDKafka, RDKafkaRespErr};
use serde::Deserialize;

use super::error::KafkaError;
use super::java::TOKEN_FILE;

/// What librdkafka is told when it asks for a token.
pub(crate) type Answer = Result<OAuthToken, Box<dyn Error>>;

/// What a token says of itself.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: Option<String>,
    /// Until when it is good, in seconds since 1970.
    exp: f64,
}

/// The token that `sasl.oauthbearer.config` names.
///
/// # Errors
/// When there is none, or it is no JSON Web Token; nothing of it is repeated.
pub(crate) fn of_config(config: Option<&str>) -> Answer {
    let path = config.and_then(|config| config.strip_prefix(TOKEN_FILE)).ok_or(
        "OAUTHBEARER needs a token: name its file with sasl.oauthbearer.token.endpoint.url=file:/path/to/token",
    )?;
    let text = fs::read_to_string(path).map_err(|error| format!("the token in {path}: {error}"))?;
    of_text(text.trim()).ok_or_else(|| format!("{path} holds no JSON Web Token with `exp`").into())
}

fn of_text(token: &str) -> Option<OAuthToken> {
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    Some(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.sub.unwrap_or_default(),
        lifetime_ms: (claims.exp * 1000.0) as i64,
    })
}

/// Gives a new client its first token, where it logs in with tokens: librdkafka asks for later ones when the client is polled,
/// and some clients are not polled before they ask something.
///
/// # Errors
/// When there is no token.
pub(crate) fn give_first(config: &ClientConfig, client: *mut RDKafka) -> Result<(), KafkaError> {
    if config.get("sasl.mechanisms") != Some("OAUTHBEARER") {
        return Ok(());
    }
    let token =
        of_config(config.get("sasl.oauthbearer.config")).map_err(|error| KafkaError::Settings(error.to_string()))?;
    let text =
        |text: String| CString::new(text).map_err(|_| KafkaError::Settings("the token holds a zero byte".to_owned()));
    let (value, principal) = (text(token.token)?, text(token.principal_name)?);
    let mut problem = [0u8; 256];
    // SAFETY: the client is alive; the texts and the buffer outlive the call, which keeps none of them.
    let code = unsafe {
        native::rd_kafka_oauthbearer_set_token(
            client,
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            problem.as_mut_ptr().cast(),
            problem.len(),
        )
    };
    if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let problem = problem.split(|byte| *byte == 0).next().unwrap_or_default();
    Err(KafkaError::Settings(format!("the token cannot be used: {}", String::from_utf8_lossy(problem))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_read_with_its_name_and_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = format!("file:{}", file.path().display());
        fs::write(file.path(), token(r#"{"sub":"scorer","exp":1800000000}"#) + "\n").unwrap();
        let found = of_config(Some(&config)).unwrap();
        assert_eq!((found.principal_name.as_str(), found.lifetime_ms), ("scorer", 1_800_000_000_000));
        assert!(found.token.ends_with(".c2ln"));
        for bad in [token(r#"{"sub":"GEHEIM1"}"#), token("GEHEIM1"), "GEHEIM1".to_owned(), String::new()] {
            fs::write(file.path(), bad).unwrap();
            let error = of_config(Some(&config)).err().unwrap().to_string();
            assert!(error.ends_with("holds no JSON Web Token with `exp`") && !error.contains("GEHEIM1"), "{error}");
        }
        let missing = of_config(None).err().unwrap().to_string();
        assert!(missing.contains("sasl.oauthbearer.token.endpoint.url=file:"), "{missing}");
    }
}
