//! Writing a file so that it is there completely or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::{Builder, NamedTempFile};

/// Files that are being written and have not got their names yet.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file that takes its name only when it is complete; dropped before, it leaves nothing behind and the old file as it was.
///
/// What a symbolic link points to is replaced, not the link. A device or a pipe is written to, once everything is there.
#[derive(Debug)]
pub struct PendingFile {
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
    /// Tries the place of a file, so that an unwritable one is known before the work and not after it. `-` is standard output.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written to, or `path` is a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self { path: path.to_owned(), to: To::Standard });
        }
        if path.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        let mut path = path.to_owned();
        if let Ok(found) = fs::metadata(&path) {
            if !found.is_file() {
                return Ok(Self { path, to: To::Special });
            }
            // A file that may not be changed is not replaced either.
            OpenOptions::new().append(true).open(&path)?;
            path = fs::canonicalize(&path)?;
        }
        // Gone at once: it stays nowhere if the program is killed during the work.
        temporary(&path)?.close()?;
        Ok(Self { path, to: To::File })
    }

    /// Writes everything through `write`, then gives the file its name.
    ///
    /// # Errors
    /// Those of `write`, and of the disk.
    pub fn finish(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut to: Box<dyn Write> = match self.to {
            To::File => return self.replace(write),
            To::Special => Box::new(OpenOptions::new().write(true).open(&self.path)?),
            To::Standard => Box::new(io::stdout().lock()),
        };
        let mut whole = tempfile::tempfile()?;
        through_buffer(&mut whole, write)?;
        whole.rewind()?;
        io::copy(&mut whole, &mut to)?;
        to.flush()
    }

    fn replace(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut file = temporary(&self.path)?;
        let unfinished = Unfinished::new(file.path());
        keep_permissions(&file, &self.path)?;
        through_buffer(file.as_file_mut(), write)?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|e| e.error)?;
        drop(unfinished);
        // The name is on the disk when its folder is. Not every file system can be asked for that.
        #[cfg(unix)]
        let _ = File::open(folder(&self.path)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// Removes what is being written at this moment: for a program that is told to end.
pub fn abandon() {
    let files = UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for path in files.iter() {
        let _ = fs::remove_file(path);
    }
}

/// Counts a file among the unfinished ones until it is dropped.
struct Unfinished(PathBuf);

impl Unfinished {
    fn new(path: &Path) -> Self {
        UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).retain(|path| *path != self.0);
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn through_buffer(file: &mut File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = BufWriter::new(file);
    write(&mut buffer)?;
    buffer.flush()
}

/// A file beside `path`, with the permissions that the user's mask leaves to new files.
fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    #[cfg_attr(not(unix), expect(unused_mut))]
    let mut builder = Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder(path))
}

/// Gives the new file the permissions of the one that it replaces.
fn keep_permissions(new: &NamedTempFile, path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(old) => new.as_file().set_permissions(old.permissions()),
        Err(_) => Ok(()),
    }
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
    fn permissions_are_those_of_new_files_or_of_the_file_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = tempfile::tempdir().unwrap();
        let [path, plain] = ["out.txt", "plain.txt"].map(|name| folder.path().join(name));
        File::create(&plain).unwrap();
        PendingFile::create(&path).unwrap().finish(|w| w.write_all(b"new")).unwrap();
        assert_eq!(mode(&path), mode(&plain), "{:o}", mode(&path));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        PendingFile::create(&path).unwrap().finish(|w| w.write_all(b"newer")).unwrap();
        assert_eq!(mode(&path), 0o640);
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
