//! What tells one content from another: SHA-256.

use sha2::{Digest, Sha256};

/// SHA-256 in hexadecimal.
pub fn fingerprint(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// SHA-256 in hexadecimal of numbers, as their little-endian bytes one after the other.
pub fn fingerprint_of_numbers(numbers: &[f64]) -> String {
    let mut digest = Sha256::new();
    let mut bytes = Vec::new();
    for numbers in numbers.chunks(4096) {
        bytes.clear();
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        digest.update(&bytes);
    }
    hexadecimal(&digest.finalize())
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
