//! How much memory a comparison takes.

/// What the program takes by itself, and what is read at a time.
const PROGRAM: u64 = 160 << 20;

/// Bytes a row and detector: a score of each row that is scored or fitted on.
const SCORE_BYTES: u64 = 4;

/// Bytes a row beside features and scores: labels, indices of parts, and what sorting scores takes for a while.
const ROW_BYTES: u64 = 5 + 16;

/// The least that can do: features in float64, once more while they are split into parts, and scaled in float32 instead of
/// that copy.
pub fn least_bytes(n_rows: u64, n_features: u64) -> u64 {
    PROGRAM + n_rows * (ROW_BYTES + 16 * n_features)
}

/// What is held while detectors are fitted and score.
pub fn held_bytes(n_rows: u64, n_features: u64, n_detectors: u64) -> u64 {
    PROGRAM + n_rows * (ROW_BYTES + 12 * n_features + SCORE_BYTES * (n_detectors + 1))
}
