//! Settings as Kafka's own clients in Java name them, in the words of librdkafka.

use std::io::Read as _;

use super::properties::Lookup;

/// Settings of Java's clients that mean nothing here.
const WITHOUT_MEANING: &[&str] = &[
    "key.serializer",
    "value.serializer",
    "key.deserializer",
    "value.deserializer",
    "ssl.protocol",
    "ssl.enabled.protocols",
    "ssl.provider",
    "ssl.keymanager.algorithm",
    "ssl.trustmanager.algorithm",
    "ssl.secure.random.implementation",
    // That of a store of certificates: none of those that are read here has one.
    "ssl.truststore.password",
];

/// The ways to log in that this build knows.
const MECHANISMS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

/// What `sasl.oauthbearer.config` says of a token in a file.
pub(super) const TOKEN_FILE: &str = "file:";

/// Keys and values in the words of librdkafka, with what they refer to. Of a key that stands several times, the last one counts.
///
/// # Errors
/// A setting that has no meaning here, or cannot be looked up; no value is repeated but names of files.
pub(super) fn translate(given: Vec<(String, String)>, lookup: &Lookup<'_>) -> Result<Vec<(String, String)>, String> {
    let mut stores = Stores::default();
    let mut settings = Vec::with_capacity(given.len());
    for (key, value) in given {
        let resolved = |text: &str| lookup.resolve(text).map_err(|problem| format!("{key}: {problem}"));
        // Secrets are looked up after the text around them was taken apart: they may hold quotes.
        if key == "sasl.jaas.config" {
            let login = Login::read(&value).ok_or_else(|| format!("{key}: {}", Login::FORM))?;
            for (name, option) in login.settings()? {
                settings.push((name.to_owned(), resolved(option)?));
            }
            continue;
        }
        let value = resolved(&value)?;
        match key.as_str() {
            "sasl.mechanism" | "sasl.mechanisms" => settings.push(("sasl.mechanisms".to_owned(), mechanism(&value)?)),
            "ssl.endpoint.identification.algorithm" if value.is_empty() => settings.push((key, "none".to_owned())),
            "sasl.oauthbearer.token.endpoint.url" => {
                settings.push(("sasl.oauthbearer.config".to_owned(), token_file(&value)?));
            }
            _ if stores.take(&key, &value) => {}
            _ if WITHOUT_MEANING.contains(&key.as_str()) => tracing::debug!(key, "this setting has no meaning here"),
            _ if key.starts_with("sasl.kerberos.") => return Err(no_kerberos(&key)),
            _ if key.ends_with(".callback.handler.class") => {
                if !value.starts_with("org.apache.kafka.") {
                    return Err(format!("{key}: it names a class of Java, and no such class can run here"));
                }
            }
            _ => settings.push((key, value)),
        }
    }
    settings.extend(stores.settings()?);
    Ok(settings)
}

fn no_kerberos(key: &str) -> String {
    format!("{key}: this program does not log in with Kerberos (GSSAPI): use {}", MECHANISMS.join(", "))
}

fn mechanism(value: &str) -> Result<String, String> {
    const KEY: &str = "sasl.mechanism";
    match value.to_uppercase().as_str() {
        "GSSAPI" => Err(no_kerberos(KEY)),
        known if MECHANISMS.contains(&known) => Ok(known.to_owned()),
        _ => Err(format!("{KEY}: it is none of {}", MECHANISMS.join(", "))),
    }
}

/// Where a token is, by the address that Java's clients ask for one.
fn token_file(url: &str) -> Result<String, String> {
    let path = url.strip_prefix("file:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        Some(path) if path.starts_with('/') => Ok(format!("{TOKEN_FILE}{path}")),
        _ => {
            Err("sasl.oauthbearer.token.endpoint.url: tokens come from a file that something else keeps fresh: write \
             file:/path/to/token"
                .to_owned())
        }
    }
}

/// A login as Java's JAAS writes it: a module with options.
#[derive(Debug, PartialEq, Eq)]
struct Login {
    module: String,
    options: Vec<(String, String)>,
}

impl Login {
    const FORM: &str = "it is not written as in `org.apache.kafka.common.security.scram.ScramLoginModule required \
         username=\"...\" password=\"...\";`";

    fn read(text: &str) -> Option<Self> {
        let (module, rest) = text.trim().split_once(char::is_whitespace)?;
        let (flag, rest) = rest.trim_start().split_once(char::is_whitespace)?;
        if !["required", "requisite", "sufficient", "optional"].contains(&flag) {
            return None;
        }
        let (mut options, mut rest) = (Vec::new(), rest.trim());
        while !rest.is_empty() && rest != ";" {
            let (name, value) = rest.split_once('=')?;
            let (value, after) = match value.trim_start().strip_prefix('"') {
                Some(quoted) => unquoted(quoted)?,
                None => {
                    let value = value.trim_start();
                    let (value, after) = value.split_at(value.find([' ', '\t', ';']).unwrap_or(value.len()));
                    (value.to_owned(), after)
                }
            };
            options.push((name.trim().to_owned(), value));
            rest = after.trim_start();
        }
        Some(Self { module: module.rsplit('.').next().unwrap_or(module).to_owned(), options })
    }

    /// What it means for librdkafka: the name of each setting with the value of the option.
    fn settings(&self) -> Result<Vec<(&'static str, &str)>, String> {
        let needed = |name: &str| {
            let option = self.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            option.ok_or_else(|| format!("sasl.jaas.config: it has no option `{name}`"))
        };
        match self.module.as_str() {
            "PlainLoginModule" | "ScramLoginModule" => {
                Ok(vec![("sasl.username", needed("username")?), ("sasl.password", needed("password")?)])
            }
            // The token is named by sasl.oauthbearer.token.endpoint.url.
            "OAuthBearerLoginModule" => Ok(Vec::new()),
            "Krb5LoginModule" => Err(no_kerberos("sasl.jaas.config")),
            _ => Err("sasl.jaas.config: its module is none of PlainLoginModule, ScramLoginModule and \
                 OAuthBearerLoginModule"
                .to_owned()),
        }
    }
}

/// A text up to the next `"`, and what comes behind; a `\` stands before characters of the text.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut out, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

/// Where certificates and keys are, as Java names them.
#[derive(Debug, Default)]
struct Stores {
    truststore: Option<String>,
    truststore_type: Option<String>,
    trusted: Option<String>,
    keystore: Option<String>,
    keystore_type: Option<String>,
    keystore_password: Option<String>,
    chain: Option<String>,
    key: Option<String>,
}

/// In which form certificates and keys are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Pem,
    Pkcs12,
    /// Java's own.
    Jks,
}

impl Stores {
    /// Takes a setting of Java's; whether it is one of stores.
    fn take(&mut self, key: &str, value: &str) -> bool {
        let place = match key {
            "ssl.truststore.location" => &mut self.truststore,
            "ssl.truststore.type" => &mut self.truststore_type,
            "ssl.truststore.certificates" => &mut self.trusted,
            "ssl.keystore.location" => &mut self.keystore,
            "ssl.keystore.type" => &mut self.keystore_type,
            "ssl.keystore.password" => &mut self.keystore_password,
            "ssl.keystore.certificate.chain" => &mut self.chain,
            "ssl.keystore.key" => &mut self.key,
            _ => return false,
        };
        *place = (!value.is_empty()).then(|| value.to_owned());
        true
    }

    fn settings(self) -> Result<Vec<(String, String)>, String> {
        let mut settings = Vec::new();
        let mut set = |name: &str, value: String| settings.push((name.to_owned(), value));
        if let Some(path) = self.truststore {
            const KEY: &str = "ssl.truststore.location";
            if Form::of(KEY, &path, self.truststore_type.as_deref())? != Form::Pem {
                return Err(format!(
                    "{KEY}: {path} is a store of Java's: write its certificates as PEM with `keytool -list -rfc -keystore \
                     {path} > authorities.pem`, and name that file"
                ));
            }
            set("ssl.ca.location", path);
        }
        if let Some(path) = self.keystore {
            const KEY: &str = "ssl.keystore.location";
            match Form::of(KEY, &path, self.keystore_type.as_deref())? {
                Form::Jks => {
                    return Err(format!(
                        "{KEY}: {path} is a store of Java's own kind (JKS): make one of PKCS#12 of it with `keytool \
                         -importkeystore -srckeystore {path} -destkeystore client.p12 -deststoretype PKCS12`, and name that \
                         file"
                    ));
                }
                Form::Pem => {
                    set("ssl.certificate.location", path.clone());
                    set("ssl.key.location", path);
                }
                Form::Pkcs12 => {
                    set("ssl.keystore.location", path);
                    self.keystore_password.into_iter().for_each(|password| set("ssl.keystore.password", password));
                }
            }
        }
        self.trusted.into_iter().for_each(|pem| set("ssl.ca.pem", pem));
        self.chain.into_iter().for_each(|pem| set("ssl.certificate.pem", pem));
        self.key.into_iter().for_each(|pem| set("ssl.key.pem", pem));
        Ok(settings)
    }
}

impl Form {
    /// That of a file, as its content tells; where that tells nothing, as it is `declared`.
    fn of(key: &str, path: &str, declared: Option<&str>) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("{key}: {path}: {error}");
        let mut start = Vec::new();
        std::fs::File::open(path).and_then(|file| file.take(1 << 16).read_to_end(&mut start)).map_err(cannot)?;
        let is_pem = start.windows(11).any(|part| part == b"-----BEGIN ");
        match (start.as_slice(), declared.map(str::to_uppercase).as_deref()) {
            ([0xfe, 0xed, 0xfe, 0xed, ..], _) => Ok(Self::Jks),
            (_, None | Some("PEM")) if is_pem => Ok(Self::Pem),
            ([0x30, ..], None | Some("PKCS12" | "JKS")) => Ok(Self::Pkcs12),
            _ => {
                Err(format!("{key}: {path} is neither PEM nor a store of Java's, or not of the type that is declared"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(given: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        translate(given, &Lookup { variable: &|name: &str| (name == "PW").then(|| "a\"b;c".to_owned()) })
    }

    fn settings(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn logins_of_java_are_those_of_librdkafka() {
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"u 1\" \
            password=\"${env:PW}\" other=1;";
        let found = translated(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "scram-sha-512"),
            ("sasl.jaas.config", scram),
            ("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer"),
            ("sasl.client.callback.handler.class", "org.apache.kafka.common.security.Any"),
            ("ssl.endpoint.identification.algorithm", ""),
        ]);
        let expected = settings(&[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", "u 1"),
            ("sasl.password", "a\"b;c"),
            ("ssl.endpoint.identification.algorithm", "none"),
        ]);
        assert_eq!(found.unwrap(), expected);
        let plain = "x.PlainLoginModule required username=u password=\"p\\\"\\\\q\"";
        let found = translated(&[("sasl.jaas.config", plain)]);
        assert_eq!(found.unwrap(), settings(&[("sasl.username", "u"), ("sasl.password", "p\"\\q")]));
    }

    #[test]
    fn a_token_comes_from_a_file() {
        for url in ["file:/run/token", "file:///run/token"] {
            let found = translated(&[
                ("sasl.mechanism", "OAUTHBEARER"),
                ("sasl.jaas.config", "a.OAuthBearerLoginModule required ;"),
                ("sasl.oauthbearer.token.endpoint.url", url),
            ]);
            let expected =
                settings(&[("sasl.mechanisms", "OAUTHBEARER"), ("sasl.oauthbearer.config", "file:/run/token")]);
            assert_eq!(found.unwrap(), expected);
        }
        for url in ["https://login.example/token", "file:token", "/run/token"] {
            let error = translated(&[("sasl.oauthbearer.token.endpoint.url", url)]).unwrap_err();
            assert!(error.contains("write file:/path/to/token"), "{error}");
        }
    }

    #[test]
    fn stores_are_what_their_content_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let pem = file("pem", b"Bag Attributes\n-----BEGIN CERTIFICATE-----\n");
        let jks = file("jks", &[0xfe, 0xed, 0xfe, 0xed, 0, 2]);
        let p12 = file("p12", &[0x30, 0x82, 1, 1]);
        let text = file("text", b"nothing");
        let found = translated(&[
            ("ssl.truststore.location", &pem),
            ("ssl.truststore.password", "unused"),
            ("ssl.keystore.location", &pem),
            ("ssl.keystore.type", "PEM"),
            ("ssl.key.password", "k"),
        ]);
        let expected = settings(&[
            ("ssl.key.password", "k"),
            ("ssl.ca.location", &pem),
            ("ssl.certificate.location", &pem),
            ("ssl.key.location", &pem),
        ]);
        assert_eq!(found.unwrap(), expected);
        let found = translated(&[("ssl.keystore.location", &p12), ("ssl.keystore.password", "p")]);
        assert_eq!(found.unwrap(), settings(&[("ssl.keystore.location", &p12), ("ssl.keystore.password", "p")]));
        let inline =
            [("ssl.truststore.certificates", "A"), ("ssl.keystore.certificate.chain", "B"), ("ssl.keystore.key", "C")];
        let expected = settings(&[("ssl.ca.pem", "A"), ("ssl.certificate.pem", "B"), ("ssl.key.pem", "C")]);
        assert_eq!(translated(&inline).unwrap(), expected);
        let refused = [
            ("ssl.truststore.location", &jks, "keytool -list -rfc"),
            ("ssl.truststore.location", &p12, "keytool -list -rfc"),
            ("ssl.keystore.location", &jks, "-deststoretype PKCS12"),
            ("ssl.keystore.location", &text, "is neither PEM nor"),
        ];
        for (key, path, expected) in refused {
            let error = translated(&[(key, path)]).unwrap_err();
            assert!(error.starts_with(key) && error.contains(expected) && error.contains(path.as_str()), "{error}");
        }
        let error = translated(&[("ssl.keystore.location", &p12), ("ssl.keystore.type", "PEM")]).unwrap_err();
        assert!(error.contains("not of the type"), "{error}");
        assert!(translated(&[("ssl.truststore.location", "/no/file")]).unwrap_err().contains("No such file"));
    }

    #[test]
    fn what_cannot_be_done_here_is_refused_without_its_value() {
        let cases = [
            ("sasl.mechanism", "GSSAPI", "Kerberos"),
            ("sasl.mechanism", "GEHEIM1", "it is none of PLAIN"),
            ("sasl.kerberos.service.name", "GEHEIM1", "Kerberos"),
            ("sasl.jaas.config", "GEHEIM1", "it is not written as"),
            ("sasl.jaas.config", "a.PlainLoginModule required username=\"GEHEIM1", "it is not written as"),
            ("sasl.jaas.config", "a.PlainLoginModule required username=\"GEHEIM1\";", "no option `password`"),
            ("sasl.jaas.config", "a.GEHEIM1 required a=b;", "its module is none of"),
            ("sasl.jaas.config", "com.sun.Krb5LoginModule required a=b;", "Kerberos"),
            ("sasl.login.callback.handler.class", "software.GEHEIM1", "a class of Java"),
            ("sasl.password", "GEHEIM1${env:NONE}", "there is no variable NONE"),
        ];
        for (key, value, expected) in cases {
            let error = translated(&[(key, value)]).unwrap_err();
            assert!(error.starts_with(key) && error.contains(expected), "{error}");
            assert!(!error.contains("GEHEIM1"), "{error}");
        }
    }
}
