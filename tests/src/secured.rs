//! A broker with TLS, logins and ACLs, with certificates of its own.

use std::process::Command;

use crate::certificate::certificate;
use crate::kafka::value_of;
use crate::{Kafka, repository, text};

/// A broker with three more listeners, and what a client needs to know of them.
#[derive(Debug)]
pub struct Secured {
    /// The broker; who comes to its first listener may do everything.
    pub kafka: Kafka,
    /// Where it speaks TLS.
    pub tls: String,
    /// The same, with a certificate that has expired.
    pub expired: String,
    /// Where it speaks TLS and wants a login.
    pub login: String,
    folder: tempfile::TempDir,
}

impl Secured {
    /// The password of the user `scorer`.
    pub const PASSWORD: &str = "geheim";

    /// Starts a broker; there is none where Kafka is missing and tests may be skipped.
    pub fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::write(path.join("password"), Self::PASSWORD).unwrap();
        let valid = certificate(path, "broker", &["-validity", "2"])?;
        let expired = certificate(path, "expired", &["-startdate", "-10d", "-validity", "5"])?;
        std::fs::write(path.join("authorities.pem"), valid + &expired).unwrap();
        let (kafka, said) = Kafka::start_secured(text(path))?;
        // Certificates are for a name and not for an address.
        let address = |name: &str| value_of(&said, name).replace("127.0.0.1", "localhost");
        let (tls, expired, login) = (address("tls="), address("expired="), address("login="));
        Some(Self { kafka, tls, expired, login, folder })
    }

    /// The certificates of all listeners, in PEM.
    pub fn authorities(&self) -> String {
        text(&self.folder.path().join("authorities.pem")).to_owned()
    }

    /// A file for `--kafka-config` with these lines.
    pub fn config(&self, lines: &str) -> String {
        let path = self.folder.path().join("client.properties");
        // No test waits until an address of the other kind is given up.
        std::fs::write(&path, format!("broker.address.family=v4\n{lines}\n")).unwrap();
        text(&path).to_owned()
    }

    /// Gives or, with `--deny-principal`, denies rights, as `kafka-acls.sh` does with these options.
    pub fn acls(&self, options: &[&str]) {
        self.change_acls(&[&["--add"], options].concat());
    }

    /// Undoes what [`acls`](Self::acls) did with these options.
    pub fn undo_acls(&self, options: &[&str]) {
        self.change_acls(&[&["--remove", "--force"], options].concat());
    }

    fn change_acls(&self, options: &[&str]) {
        let jars = repository().join("tests/kafka/target/jars/*");
        let mut command = Command::new("java");
        command.args([
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-cp",
            text(&jars),
            "org.apache.kafka.tools.AclCommand",
        ]);
        let output = command.args(["--bootstrap-server", &self.kafka.brokers]).args(options).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
