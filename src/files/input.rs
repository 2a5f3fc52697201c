//! Reading a whole file, or standard input, as far as there is memory for it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::memory;

/// All bytes of a file; `-` is standard input.
///
/// # Errors
/// Those of the disk; if `path` is a folder; and if there are more bytes than a third of the memory that is free, so that what
/// has no end is not read until the system gives up.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new("-") {
        return read_all(io::stdin().lock());
    }
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    read_all(File::open(path)?)
}

/// All bytes that `from` gives, with the same bound.
pub(super) fn read_all(from: impl Read) -> io::Result<Vec<u8>> {
    let most = memory::available().map_or(isize::MAX as u64, |free| free / 3);
    let mut bytes = Vec::new();
    // One more, which tells.
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 <= most {
        return Ok(bytes);
    }
    let words = memory::in_words(most.into());
    Err(io::Error::other(format!("it has more than {words}, a third of the memory that is free, or no end")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read() {
        let bytes: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
        assert_eq!(read_all(bytes.as_slice()).unwrap(), bytes);
        assert!(read(Path::new("/")).is_err());
    }
}
