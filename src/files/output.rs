//! Writing a file so that it is there completely or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file that takes its name only when it is complete; dropped before, it leaves nothing behind and the old file as it was.
///
/// What a symbolic link points to is replaced, not the link. A device or a pipe is written to, once everything is there.
#[derive(Debug)]
pub struct PendingFile {
    temporary: NamedTempFile,
    path: PathBuf,
    to: To,
}

/// Where the finished bytes go.
#[derive(Debug)]
enum To {
    /// To a file that takes its name.
    File,
    /// Into what is no file, and so nothing that could be replaced.
    Special,
    /// To standard output.
    Standard,
}

impl PendingFile {
    /// Starts a file beside `path`, so that an unwritable place is known before the work and not after it. `-` is standard
    /// output.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written to, or `path` is a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { temporary: NamedTempFile::new()?, path: path.to_owned(), to: To::Standard });
        }
        if path.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let mut path = path.to_owned();
        if let Ok(found) = fs::metadata(&path) {
            if !found.is_file() {
                return Ok(Self { temporary: NamedTempFile::new()?, path, to: To::Special });
            }
            // A file that may not be changed is not replaced either.
            OpenOptions::new().append(true).open(&path)?;
            path = fs::canonicalize(&path)?;
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { temporary: NamedTempFile::new_in(folder)?, path, to: To::File })
    }

    /// Writes everything through `write`, then gives the file its name.
    ///
    /// # Errors
    /// Those of `write`, and of the disk.
    pub fn finish(mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = BufWriter::new(&mut self.temporary);
        write(&mut buffer)?;
        buffer.flush()?;
        drop(buffer);
        let mut to: Box<dyn Write> = match self.to {
            To::File => return self.replace(),
            To::Special => Box::new(OpenOptions::new().write(true).open(&self.path)?),
            To::Standard => Box::new(io::stdout().lock()),
        };
        io::copy(&mut self.temporary.reopen()?, &mut to)?;
        to.flush()
    }

    fn replace(self) -> io::Result<()> {
        self.temporary.as_file().sync_all()?;
        set_permissions(&self.temporary, &self.path)?;
        self.temporary.persist(&self.path).map_err(|e| e.error)?;
        Ok(())
    }
}

/// Temporary files are private; the finished file gets the permissions of the file it replaces, or the usual ones.
#[cfg(unix)]
fn set_permissions(temporary: &NamedTempFile, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).map_or(0o644, |m| m.permissions().mode());
    temporary.as_file().set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_permissions(_: &NamedTempFile, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.txt");
        fs::write(&path, "old").unwrap();
        let failed = PendingFile::create(&path).unwrap().finish(|w| {
            w.write_all(b"half")?;
            Err(io::Error::other("full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        PendingFile::create(&path).unwrap().finish(|w| w.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(PendingFile::create(&folder.path().join("none/out.txt")).is_err());
        assert!(PendingFile::create(folder.path()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_stay_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let [path, link] = ["out.txt", "link.txt"].map(|name| folder.path().join(name));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        PendingFile::create(&link).unwrap().finish(|w| w.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        let null = Path::new("/dev/null");
        PendingFile::create(null).unwrap().finish(|w| w.write_all(b"new")).unwrap();
        assert!(!fs::metadata(null).unwrap().is_file());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
