//! Secrets, from where the pipeline file says that they are.

use std::path::PathBuf;

use alerts::Secret;
use shared::pipeline::Reference;
use thiserror::Error;

/// A secret that is not where it should be.
#[derive(Debug, Error)]
pub enum SecretError {
    /// There is no such variable.
    #[error("the environment variable {0} is not set")]
    Variable(String),
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// There is nothing, or several lines.
    #[error("{0} has to hold one line that is not empty")]
    Empty(String),
}

/// What a reference leads to.
///
/// # Errors
/// [`SecretError`].
pub(super) fn read(reference: &Reference) -> Result<Secret, SecretError> {
    let (text, place) = match reference {
        Reference::Plain(text) => (text.clone(), "the value".to_owned()),
        Reference::Env(name) => {
            let text = std::env::var(name).map_err(|_| SecretError::Variable(name.clone()))?;
            (text, format!("the environment variable {name}"))
        }
        Reference::File(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|source| SecretError::Read { path: path.clone(), source })?;
            (text, path.display().to_string())
        }
    };
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.contains('\n') {
        return Err(SecretError::Empty(place));
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let at = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&Reference::File(path.clone())).map_err(|error| error.to_string())
        };
        assert_eq!(at("hunter2\n").unwrap().reveal(), "hunter2");
        for wrong in ["", "\n", "hunter2\nhunter3\n"] {
            let error = at(wrong).unwrap_err();
            assert!(error.contains("has to hold one line") && !error.contains("hunter"), "{error}");
        }
        let missing = read(&Reference::File(folder.path().join("nothing"))).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read "), "{missing}");
        let unset = read(&Reference::Env("ATALAYA_NO_SUCH_VARIABLE".to_owned())).unwrap_err().to_string();
        assert_eq!(unset, "the environment variable ATALAYA_NO_SUCH_VARIABLE is not set");
    }
}
