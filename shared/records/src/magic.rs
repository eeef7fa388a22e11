//! What the first bytes of a file say that it is.

/// Bytes at the beginning of a file that tell what it is.
pub const HEAD_BYTES: usize = 512;

/// A file of a kind that is not read as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// What it is.
    pub what: &'static str,
    /// How it can be read.
    pub advice: &'static str,
}

/// Whether a file that begins so is compressed by gzip.
pub fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

/// Whether a file that begins so holds records of Avro.
pub fn is_avro(head: &[u8]) -> bool {
    head.starts_with(b"Obj\x01")
}

/// The kind of a file that begins so, if it is one that is not read as text.
pub fn foreign(head: &[u8]) -> Option<Foreign> {
    const UNPACK: &str = "unpack it first";
    const KNOWN: [(&[u8], &str, &str); 11] = [
        (b"PK\x03\x04", "a zip archive, as .xlsx workbooks are", "unpack it, or save the sheet as CSV"),
        (b"PK\x05\x06", "an empty zip archive", UNPACK),
        (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", "an old Excel workbook", "save the sheet as CSV"),
        (b"PAR1", "a Parquet file", "give it a name that ends in .parquet"),
        (b"ARROW1\0\0", "an Arrow (Feather) file", "save it as Parquet or CSV"),
        (b"Obj\x01", "an Avro file", "give it a name that ends in .avro"),
        (b"\x28\xB5\x2F\xFD", "compressed by zstd", "unpack it with zstd -d, or use gzip"),
        (b"BZh", "compressed by bzip2", "unpack it with bunzip2, or use gzip"),
        (b"\xFD7zXZ\0", "compressed by xz", "unpack it with unxz, or use gzip"),
        (b"SQLite format 3\0", "an SQLite database", "export the table as CSV"),
        (b"%PDF-", "a PDF document", "ask for the data as CSV"),
    ];
    let found = KNOWN.iter().find(|(magic, ..)| head.starts_with(magic))?;
    // A CSV file could begin with these letters; a packed file has control characters, too.
    let is_text = matches!(found.0, b"BZh" | b"PAR1")
        && head.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace());
    (!is_text).then_some(Foreign { what: found.1, advice: found.2 })
}

/// Whether a file that begins so is an array of objects, or begins with one, or with an empty one.
pub fn is_json_array(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    // An array of numbers is no record either, but a line of it has its own reason.
    let inner = text.strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    inner.is_some_and(|inner| inner.is_empty() || inner.starts_with(b"{") || inner.starts_with(b"]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_files_are_known_by_their_first_bytes() {
        for (head, what) in [
            (&b"PK\x03\x04\x14\0"[..], Some("a zip archive, as .xlsx workbooks are")),
            (b"PAR1\x15\0", Some("a Parquet file")),
            (b"PAR1,x\n1,2\n", None),
            (b"BZh91AY&SY\0", Some("compressed by bzip2")),
            (b"\x28\xB5\x2F\xFD\0", Some("compressed by zstd")),
            (b"InvoiceNo,x\n", None),
            (b"", None),
        ] {
            assert_eq!(foreign(head).map(|found| found.what), what);
        }
        assert!(is_gzip(b"\x1f\x8b\x08") && !is_gzip(b"\x1f"));
        for (head, is_array) in [
            (&b"\xEF\xBB\xBF [\n {\"a\":1}"[..], true),
            (b"[", true),
            (b"[ ]\n", true),
            (b"{\"a\":[1]}", false),
            (b"[1]", false),
            (b"", false),
        ] {
            assert_eq!(is_json_array(head), is_array);
        }
    }
}
