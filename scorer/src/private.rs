//! Folders and files that only their owner may read: state holds the keys and customers of records.
//!
//! A folder where others may write, such as the one for temporary files, may hold what somebody put there in advance. So a
//! folder that belongs to somebody else is not used, and no file is opened through a link.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder where it is missing, and the folders above it, for their owner alone.
///
/// # Errors
/// When it cannot be made, is no folder, or belongs to somebody else; what the system's administrator owns may be used.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // The link, where it is one, and what it leads to.
    for found in [fs::symlink_metadata(path)?, fs::metadata(path)?] {
        let own = user_id();
        if found.uid() != own && found.uid() != ROOT {
            let problem = format!(
                "it belongs to user {} and this program runs as user {own}: name a folder of its own with --state-dir",
                found.uid()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
        }
    }
    Ok(())
}

/// How a file is opened to be written: made where it is missing, for its owner alone, and not through a link.
pub fn writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options
}

/// The administrator, who could read and write everything anyway.
const ROOT: u32 = 0;

/// Whose rights this process has.
pub fn user_id() -> u32 {
    // SAFETY: it has no arguments, always succeeds and touches no memory.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        create_folder(&inner).unwrap();
        create_folder(&inner).unwrap();
        writing().open(inner.join("file")).unwrap().write_all(b"x").unwrap();
        let modes = [mode(&folder.path().join("a")), mode(&inner), mode(&inner.join("file"))];
        assert_eq!(modes, [0o700, 0o700, 0o600]);
    }

    #[test]
    fn a_link_in_a_files_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "kept").unwrap();
        symlink(&target, &link).unwrap();
        assert!(writing().truncate(true).open(&link).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"kept");
    }

    /// Only the administrator can give a file away; elsewhere the folder of the administrator is the other one.
    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, link) = (folder.path().join("theirs"), folder.path().join("link"));
        fs::create_dir(&theirs).unwrap();
        symlink(&theirs, &link).unwrap();
        if user_id() != ROOT {
            assert!(create_folder(Path::new("/")).is_ok(), "what the administrator owns may be used");
            return;
        }
        std::os::unix::fs::chown(&theirs, Some(4242), None).unwrap();
        for path in [&theirs, &link] {
            let error = create_folder(path).unwrap_err().to_string();
            let expected =
                "it belongs to user 4242 and this program runs as user 0: name a folder of its own with --state-dir";
            assert_eq!(error, expected);
        }
    }
}
