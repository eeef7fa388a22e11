//! What is wrong with the TLS of a broker: librdkafka tells only that something is. So it is greeted once more, by another
//! library, which says of a certificate why it is not valid.

use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, Error, RootCertStore};

/// How long each step of the greeting may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Who is trusted to vouch for brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authorities {
    /// Whom the system trusts.
    Usual,
    /// The certificates in a file, or in the files of a folder.
    Of(String),
    /// These, in PEM.
    Pem(String),
}

/// What an address answers to a greeting by TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// TLS, and its certificate is valid.
    Valid,
    /// TLS, with a certificate that has expired.
    Expired,
    /// TLS, with a certificate that is not valid yet.
    NotYetValid,
    /// TLS, with a certificate for other names.
    OtherName(Vec<String>),
    /// TLS, with a certificate that nobody vouches for who is trusted.
    Untrusted,
    /// TLS, which ended for another reason.
    Failed(String),
    /// Something else.
    NoTls,
    /// Nothing.
    Silent,
}

/// Greets `HOST:PORT`.
pub(crate) fn greet(address: &str, authorities: &Authorities) -> Greeting {
    let Some((host, _)) = address.rsplit_once(':') else { return Greeting::Silent };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let Ok(name) = ServerName::try_from(host.to_owned()) else { return Greeting::Silent };
    match handshake(address, name, authorities.store()) {
        Ok(()) => Greeting::Valid,
        Err(error) => of_error(&error),
    }
}

fn handshake(address: &str, name: ServerName<'static>, roots: RootCertStore) -> io::Result<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(())
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn of_error(error: &io::Error) -> Greeting {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        // A broker without TLS takes the greeting for a request that is too large, and hangs up.
        let hung_up =
            matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        return if hung_up { Greeting::NoTls } else { Greeting::Silent };
    };
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::InvalidMessage(_) => Greeting::NoTls,
        error => Greeting::Failed(error.to_string()),
    }
}

fn of_certificate(error: &CertificateError) -> Greeting {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Greeting::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Greeting::NotYetValid,
        CertificateError::NotValidForName => Greeting::OtherName(Vec::new()),
        CertificateError::NotValidForNameContext { presented, .. } => Greeting::OtherName(presented.clone()),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Greeting::Untrusted,
        error => Greeting::Failed(Error::InvalidCertificate(error.clone()).to_string()),
    }
}

impl Authorities {
    /// Their certificates; what cannot be read is left out, as librdkafka has refused it.
    fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(match self {
            Self::Usual => rustls_native_certs::load_native_certs().certs,
            Self::Of(path) => of_path(path),
            Self::Pem(text) => CertificateDer::pem_slice_iter(text.as_bytes()).map_while(Result::ok).collect(),
        });
        store
    }
}

/// The certificates in a file, or in those of a folder.
fn of_path(path: &str) -> Vec<CertificateDer<'static>> {
    let of_file = |path: &std::path::Path| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(path).map(|found| found.map_while(Result::ok).collect()).unwrap_or_default()
    };
    match std::fs::read_dir(path) {
        Ok(entries) => entries.flatten().flat_map(|entry| of_file(&entry.path())).collect(),
        Err(_) => of_file(path.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// What an address answers that does this with a connection.
    fn greeted(answer: impl FnOnce(TcpStream) + Send + 'static) -> Greeting {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || answer(listener.accept().unwrap().0));
        let greeting = greet(&address, &Authorities::Pem(String::new()));
        thread.join().unwrap();
        greeting
    }

    #[test]
    fn what_hangs_up_or_answers_in_other_words_has_no_tls() {
        let hangs_up = greeted(|mut stream| {
            let _ = stream.read(&mut [0; 5]).unwrap();
        });
        assert_eq!(hangs_up, Greeting::NoTls);
        let answers = greeted(|mut stream| {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            // Until the other side has had enough.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert_eq!(answers, Greeting::NoTls);
        assert_eq!(greet("127.0.0.1:1", &Authorities::Usual), Greeting::Silent);
        assert_eq!(greet("no address", &Authorities::Usual), Greeting::Silent);
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told() {
        let error = |error: CertificateError| of_error(&io::Error::other(Error::InvalidCertificate(error)));
        assert_eq!(error(CertificateError::Expired), Greeting::Expired);
        assert_eq!(error(CertificateError::NotValidYet), Greeting::NotYetValid);
        assert_eq!(error(CertificateError::UnknownIssuer), Greeting::Untrusted);
        assert_eq!(error(CertificateError::NotValidForName), Greeting::OtherName(Vec::new()));
        assert!(matches!(error(CertificateError::Revoked), Greeting::Failed(_)));
    }
}
