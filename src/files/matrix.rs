//! Matrices as `.npy` files, the format of `numpy.save`.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use faer::{Mat, MatRef};
use npyz::{DType, Deserialize, NpyFile, NpyHeader, Order, TypeChar, WriterBuilder};

use super::output::PendingFile;
use crate::kernels::Real;
use crate::{Error, Result};

/// Longest header that is read; a matrix needs about a hundred bytes.
const LONGEST_HEADER: usize = 1 << 16;
/// Most digits in a header: two dimensions whose product is below 10^18, and the size of the type.
const MOST_DIGITS: usize = 19;
/// Most brackets in a header; a matrix has two. The parser's time grows exponentially with their nesting.
const MOST_BRACKETS: usize = 4;

/// A matrix whose header has been read and whose numbers have not.
pub struct MatrixReader<R> {
    header: NpyHeader,
    header_bytes: u64,
    name: String,
    rows: usize,
    columns: usize,
    reader: R,
}

/// Opens a matrix file: two-dimensional, of real numbers, integers or truth values, in either order and endianness.
///
/// # Errors
/// [`Error::Matrix`] with the file's name if it cannot be read, is no matrix, or is cut off.
pub fn open(path: &Path) -> Result<MatrixReader<BufReader<File>>> {
    let name = path.display().to_string();
    let reason = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => cannot_read(&name, "there is no such file"),
        io::ErrorKind::PermissionDenied => cannot_read(&name, "permission is denied"),
        _ => cannot_read(&name, e),
    };
    let file = File::open(path).map_err(reason)?;
    let information = file.metadata().map_err(reason)?;
    if information.is_dir() {
        return Err(cannot_read(&name, "it is a folder"));
    }
    let matrix = MatrixReader::new(name, BufReader::with_capacity(1 << 16, file))?;
    // What a pipe holds is known only when it has been read.
    let found = information.len().saturating_sub(matrix.header_bytes);
    let needed = matrix.rows as u64 * matrix.columns as u64 * kind(&matrix.header).map_or(8, |(_, size)| size);
    if information.is_file() && found < needed {
        let what = format!("it is cut off: its header announces {needed} bytes, but {found} follow");
        return Err(cannot_read(&matrix.name, what));
    }
    Ok(matrix)
}

impl<R: Read> MatrixReader<R> {
    /// Reads the header; `name` stands for the file in messages.
    ///
    /// # Errors
    /// As for [`open`].
    pub fn new(name: impl Into<String>, mut reader: R) -> Result<Self> {
        let name = name.into();
        let (header, header_bytes) = read_header(&mut reader).map_err(|what| cannot_read(&name, what))?;
        let &[rows, columns] = header.shape() else {
            let what = format!("it has {} dimensions, but a matrix has 2; reshape it", header.shape().len());
            return Err(cannot_read(&name, what));
        };
        if rows == 0 || columns == 0 {
            return Err(cannot_read(
                &name,
                format!("it is empty ({rows} x {columns}); give at least one row and column"),
            ));
        }
        if kind(&header).is_none() {
            let found = header.dtype().descr();
            let what =
                format!("its numbers are of type {found}, but real numbers (f4, f8), integers or booleans are needed");
            return Err(cannot_read(&name, what));
        }
        let count = usize::try_from(rows).ok().zip(usize::try_from(columns).ok());
        match count.filter(|(rows, columns)| rows.checked_mul(*columns).is_some()) {
            Some((rows, columns)) => Ok(Self { header, header_bytes, name, rows, columns, reader }),
            None => Err(cannot_read(&name, "it is too large for this machine")),
        }
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns, at least 1.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Whether the file holds f32 numbers, for which f32 loses nothing.
    pub fn is_single(&self) -> bool {
        kind(&self.header) == Some((TypeChar::Float, 4))
    }

    /// Reads the numbers, rounded to `T`.
    ///
    /// # Errors
    /// [`Error::Matrix`] with the file's name if the file ends too early or holds a number, named by row and column counted
    /// from 0, that is not finite in `T`; [`Error::Memory`] if there is no room.
    pub fn read<T: Real>(self) -> Result<Mat<T>> {
        match kind(&self.header) {
            Some((TypeChar::Float, 4)) => self.read_as::<T, f32>(f64::from),
            Some((TypeChar::Float, _)) => self.read_as::<T, f64>(|x| x),
            Some((TypeChar::Bool, _)) => self.read_as::<T, bool>(|x| f64::from(u8::from(x))),
            Some((TypeChar::Int, 1)) => self.read_as::<T, i8>(f64::from),
            Some((TypeChar::Int, 2)) => self.read_as::<T, i16>(f64::from),
            Some((TypeChar::Int, 4)) => self.read_as::<T, i32>(f64::from),
            Some((TypeChar::Int, _)) => self.read_as::<T, i64>(|x| x as f64),
            Some((TypeChar::Uint, 1)) => self.read_as::<T, u8>(f64::from),
            Some((TypeChar::Uint, 2)) => self.read_as::<T, u16>(f64::from),
            Some((TypeChar::Uint, 4)) => self.read_as::<T, u32>(f64::from),
            _ => self.read_as::<T, u64>(|x| x as f64),
        }
    }

    fn read_as<T: Real, N: Deserialize>(self, widen: impl Fn(N) -> f64) -> Result<Mat<T>> {
        let Self { header, name, rows, columns, reader, .. } = self;
        let order = header.order();
        let count = rows * columns;
        let numbers = NpyFile::with_header(header, reader).data::<N>().map_err(|e| cannot_read(&name, e))?;
        // The room grows with what is read, not with what the header announces.
        let mut values: Vec<T> = Vec::new();
        for (at, number) in numbers.enumerate() {
            let value = T::from_f64(widen(number.map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => cannot_read(
                    &name,
                    format!("it is cut off after {at} of the {count} numbers that its header announces"),
                ),
                _ => cannot_read(&name, e),
            })?));
            if !value.finite() {
                let (row, column) =
                    if order == Order::C { (at / columns, at % columns) } else { (at % rows, at / rows) };
                return Err(Error::Matrix(format!(
                    "{name} holds a value that is not finite in {} at row {row}, column {column} (counted from 0); correct it or \
                     leave the row out",
                    T::NAME
                )));
            }
            if values.len() == values.capacity() {
                let bytes = count as u128 * size_of::<T>() as u128;
                let more = (count - at).min(at.max(1 << 16));
                values.try_reserve_exact(more).map_err(|_| Error::Memory { what: "the matrix", bytes })?;
            }
            values.push(value);
        }
        Ok(match order {
            Order::C => MatRef::from_row_major_slice(&values, rows, columns).to_owned(),
            Order::Fortran => MatRef::from_column_major_slice(&values, rows, columns).to_owned(),
        })
    }
}

/// Writes a matrix; the rows one after the other unless columns are what is contiguous.
///
/// # Errors
/// [`Error::Matrix`] with the file's name if it cannot be written.
pub fn write<T: Real>(file: PendingFile, path: &Path, matrix: MatRef<'_, T>) -> Result<()> {
    let written = file.finish(|w| write_to(w, matrix));
    written.map_err(|e| Error::Matrix(format!("cannot write {}: {e}", path.display())))
}

/// Writes a matrix as the bytes of an `.npy` file.
///
/// # Errors
/// Those of `w`.
pub fn write_to<T: Real>(w: &mut dyn Write, matrix: MatRef<'_, T>) -> io::Result<()> {
    let shape = [matrix.nrows() as u64, matrix.ncols() as u64];
    let by_columns = matrix.row_stride() == 1 && matrix.col_stride() != 1;
    let (order, lines) = if by_columns { (Order::Fortran, matrix.transpose()) } else { (Order::C, matrix) };
    let single = T::NAME == "f32";
    let dtype = DType::Plain(if single { "<f4" } else { "<f8" }.parse().expect("a type that npy has"));
    let header = npyz::WriteOptions::new_header_only().dtype(dtype).shape(&shape).order(order);
    header.writer(&mut *w).write_header_only()?;
    let mut bytes = Vec::with_capacity(lines.ncols() * size_of::<T>());
    for i in 0..lines.nrows() {
        bytes.clear();
        for j in 0..lines.ncols() {
            let x = lines[(i, j)].to_f64();
            if single {
                bytes.extend_from_slice(&(x as f32).to_le_bytes());
            } else {
                bytes.extend_from_slice(&x.to_le_bytes());
            }
        }
        w.write_all(&bytes)?;
    }
    Ok(())
}

fn cannot_read(name: &str, what: impl std::fmt::Display) -> Error {
    Error::Matrix(format!("cannot read {name}: {what}"))
}

/// Type and size of the numbers, if they are among those that are read.
fn kind(header: &NpyHeader) -> Option<(TypeChar, u64)> {
    let DType::Plain(plain) = header.dtype() else { return None };
    let (kind, size) = (plain.type_char(), plain.size_field());
    let known = match kind {
        TypeChar::Float => matches!(size, 4 | 8),
        TypeChar::Int | TypeChar::Uint => matches!(size, 1 | 2 | 4 | 8),
        TypeChar::Bool => size == 1,
        _ => false,
    };
    known.then_some((kind, size))
}

/// Reads the header and counts its bytes. It is looked over before the parser sees it: what it announces is multiplied and
/// what it nests is followed there without bounds.
fn read_header(reader: &mut impl Read) -> std::result::Result<(NpyHeader, u64), String> {
    let no_npy = || "it is no .npy file; numpy.save writes them".to_owned();
    let mut bytes = vec![0; 10];
    reader.read_exact(&mut bytes).map_err(|_| no_npy())?;
    if !bytes.starts_with(b"\x93NUMPY") {
        return Err(no_npy());
    }
    if bytes[6] > 1 {
        bytes.resize(12, 0);
        reader.read_exact(&mut bytes[10..]).map_err(|_| "its header is cut off")?;
    }
    let length = bytes[8..].iter().rev().fold(0, |length: usize, &byte| length << 8 | usize::from(byte));
    if length > LONGEST_HEADER {
        return Err(format!("its header of {length} bytes is longer than a matrix needs"));
    }
    let start = bytes.len();
    bytes.resize(start + length, 0);
    reader.read_exact(&mut bytes[start..]).map_err(|_| "its header is cut off")?;
    let text = &bytes[start..];
    let digits = text.iter().filter(|b| b.is_ascii_digit()).count();
    let brackets = text.iter().filter(|b| b"([{".contains(b)).count();
    // Numbers in other bases than ten, which npy files never have, would escape the count of digits.
    let other_base = text.windows(2).any(|pair| pair[0] == b'0' && pair[1].is_ascii_alphabetic() && pair[1] != b'L');
    if digits > MOST_DIGITS || brackets > MOST_BRACKETS || other_base {
        return Err("its header describes more than a matrix of plain numbers".into());
    }
    let header = NpyHeader::from_reader(&bytes[..]).map_err(|e| format!("its header does not read ({e})"))?;
    Ok((header, bytes.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn read<T: Real>(bytes: &[u8]) -> Result<Mat<T>> {
        MatrixReader::new("z.npy", bytes)?.read()
    }

    #[test]
    fn written_matrices_come_back_in_either_order() {
        let m = Mat::from_fn(3, 5, |i, j| (i * 7 + j) as f32 - 2.5);
        for view in [m.as_ref(), m.as_ref().transpose(), m.as_ref().subcols(1, 1), m.as_ref().subrows(2, 1)] {
            let mut bytes = Vec::new();
            write_to(&mut bytes, view).unwrap();
            assert_eq!(read::<f32>(&bytes).unwrap().as_ref(), view);
            let wide = Mat::from_fn(view.nrows(), view.ncols(), |i, j| f64::from(view[(i, j)]));
            assert_eq!(read::<f64>(&bytes).unwrap(), wide);
            let mut bytes = Vec::new();
            write_to(&mut bytes, wide.as_ref()).unwrap();
            assert_eq!(read::<f64>(&bytes).unwrap(), wide);
        }
    }

    #[test]
    fn every_type_and_endianness_is_read() {
        let expected = Mat::from_fn(2, 2, |i, j| [[1.0, 0.0], [100.0, 3.0]][i][j]);
        let values = [1u8, 0, 100, 3];
        macro_rules! check {
            ($($kind:literal $t:ty),*) => {$(
                for (endian, swap) in [("<", false), (">", true)] {
                    let data: Vec<u8> = values.iter().flat_map(|&x| {
                        let x = x as $t;
                        if swap { x.to_be_bytes() } else { x.to_le_bytes() }
                    }).collect();
                    let header = format!("{{'descr': '{endian}{}', 'fortran_order': False, 'shape': (2, 2), }}\n", $kind);
                    let found = read::<f64>(&npy(&header, &data)).unwrap();
                    assert_eq!(found, expected, "{header}");
                }
            )*};
        }
        check!("f4" f32, "f8" f64, "i2" i16, "i4" i32, "i8" i64, "u2" u16, "u4" u32, "u8" u64);
        for kind in ["|i1", "|u1"] {
            let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2, 2), }}");
            assert_eq!(read::<f64>(&npy(&header, &values)).unwrap(), expected);
        }
        let header = "{'descr': '|b1', 'fortran_order': True, 'shape': (2, 2), }";
        let found = read::<f32>(&npy(header, &[1, 0, 1, 1])).unwrap();
        assert_eq!(found, Mat::from_fn(2, 2, |i, j| [[1.0, 1.0], [0.0, 1.0]][i][j]));
    }

    #[test]
    fn bad_files_are_refused_in_words() {
        let float = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let two = [0u8; 8];
        let nan = [1f32, f32::NAN].map(f32::to_le_bytes).concat();
        let large = 1e60f64.to_le_bytes();
        let double = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }";
        let cases: [(Vec<u8>, &str); 15] = [
            (vec![], "no .npy file"),
            (b"a,b,c\n1,2,3\n4,5,6\n".to_vec(), "no .npy file"),
            (npy(&float("(2,)"), &two), "1 dimensions"),
            (npy(&float("()"), &two), "0 dimensions"),
            (npy(&float("(0, 3)"), &two), "empty"),
            (npy(&float("(3, 1)"), &two), "cut off after 2 of the 3"),
            (npy(&float("(1, 2)"), &nan), "row 0, column 1"),
            (npy(double, &large), "not finite in f32 at row 0"),
            (npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1, 1), }", &two), "type '<c8'"),
            (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }", &two), "type '|O'"),
            (npy("{'descr': '<f4'}", &two), "does not read"),
            (npy(&float("(99999999999, 99999999999)"), &two), "more than a matrix"),
            (npy(&float("(0xffffffffffffffff, 3)"), &two), "more than a matrix"),
            (npy(&"[".repeat(60_000), &two), "more than a matrix"),
            // Fourteen open brackets once kept the parser busy for more than a minute.
            (npy(&format!("{{'descr': '<f4', {}", "[".repeat(14)), &two), "more than a matrix"),
        ];
        for (bytes, words) in cases {
            let message = read::<f32>(&bytes).unwrap_err().to_string();
            assert!(message.contains(words) && message.contains("z.npy"), "{message} should say {words}");
        }
        let mut cut = npy(&float("(1, 2)"), &two);
        cut.truncate(30);
        assert!(read::<f32>(&cut).unwrap_err().to_string().contains("cut off"));
    }

    #[test]
    fn a_file_that_is_too_short_is_known_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("z.npy");
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000), }";
        std::fs::write(&path, npy(header, &[0; 400])).unwrap();
        let message = open(&path).err().unwrap().to_string();
        assert!(message.contains("4000000000 bytes, but 400 follow"), "{message}");
        assert!(open(folder.path()).err().unwrap().to_string().contains("folder"));
        assert!(open(&folder.path().join("none.npy")).err().unwrap().to_string().contains("no such file"));
    }
}
