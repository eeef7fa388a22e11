//! Certificates of this machine's own making.

use std::path::Path;
use std::process::Command;

use crate::text;

/// Opens the files with keys.
pub(crate) const PASSWORD: &str = "changeit";

/// Makes a key with a certificate for `localhost` that it signs itself, in `NAME.p12`; the certificate in PEM.
pub(crate) fn certificate(folder: &Path, name: &str, validity: &[&str]) -> Option<String> {
    let store = folder.join(format!("{name}.p12"));
    let keytool = |arguments: &[&str]| {
        let store = ["-keystore", text(&store), "-storetype", "PKCS12", "-storepass", PASSWORD, "-alias", name];
        let output = Command::new("keytool").args(arguments).args(store).output();
        let made = output.map_err(|error| format!("keytool is missing: {error}")).map(|output| {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            String::from_utf8(output.stdout).unwrap()
        });
        requirements::found(made)
    };
    let key = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-ext", "san=dns:localhost"];
    let subject = format!("CN={name}");
    keytool(&[&key[..], &["-dname", &subject], validity].concat())?;
    keytool(&["-exportcert", "-rfc"])
}
