//! A part of the points.

use super::Points;
use crate::ops::cpu::CHUNK;

/// Some of the points: for each chunk, which of its rows, ascending. Two bytes a point.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Members {
    chunks: Vec<Vec<u16>>,
    len: usize,
}

impl Members {
    /// All points.
    pub(super) fn all(points: &Points) -> Self {
        let rows = |chunk: usize| (points.n_samples() - chunk * CHUNK).min(CHUNK) as u16;
        let chunks = (0..points.n_chunks()).map(|chunk| (0..rows(chunk)).collect()).collect();
        Self { chunks, len: points.n_samples() }
    }

    /// How many points.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The rows of a chunk.
    pub(super) fn chunk(&self, index: usize) -> &[u16] {
        &self.chunks[index]
    }

    /// The points' indices, ascending.
    pub(super) fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        let of_chunk = |(index, rows): (usize, &'_ Vec<u16>)| {
            let first = index * CHUNK;
            rows.iter().map(|row| first + usize::from(*row)).collect::<Vec<_>>()
        };
        self.chunks.iter().enumerate().flat_map(of_chunk)
    }

    /// The points whose label is `label`, given the labels of all, chunk by chunk.
    pub(super) fn with_label(&self, labels: &[Vec<u16>], label: u16) -> Self {
        let of_chunk = |(rows, labels): (&Vec<u16>, &Vec<u16>)| {
            let mine = rows.iter().zip(labels).filter(|(_, found)| **found == label);
            mine.map(|(row, _)| *row).collect::<Vec<u16>>()
        };
        let chunks: Vec<Vec<u16>> = self.chunks.iter().zip(labels).map(of_chunk).collect();
        let len = chunks.iter().map(Vec::len).sum();
        Self { chunks, len }
    }
}
