//! CSV on all threads: sections of a file are taken apart and parsed side by side, as if a record began at the first line of
//! each.
//!
//! Then they are joined from the front. Where what comes before a section ends with a record, the section is right. Where a
//! record goes on into it, or was not certain, the reading from the front goes on by itself until it begins a record where the
//! section does, too: from there on the section is right ([`shared::records::SectionRecords`] says why). So what comes out is,
//! for any bytes, what one reading gives.

use std::io::{self, Read};
use std::sync::Arc;

use rayon::prelude::*;
use shared::line::{LineParser, Order};
use shared::records::{FileRecord, SectionRecords, Windows, line_starts};
use shared::schema::Schema;

use super::kept::{Keeping, Outcome, Record, Records};

/// How a file is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// About how many bytes a section has.
    pub section_bytes: usize,
    /// Sections that are read side by side.
    pub n_sections: usize,
}

impl Cut {
    fn window_bytes(self) -> usize {
        self.section_bytes.saturating_mul(self.n_sections)
    }

    /// As many sections as keep all threads busy while they differ, and no more than a few MiB of what they become.
    pub(super) fn for_threads() -> Self {
        Self { section_bytes: 256 << 10, n_sections: (2 * rayon::current_num_threads()).clamp(1, 16) }
    }
}

/// Records that follow those before.
#[derive(Debug)]
pub(super) struct Part {
    pub found: Records,
    /// The first of them that counts.
    pub from: usize,
    /// What is added to their lines.
    pub first_line: u64,
    /// About how many bytes of the file were read up to their end, as the one who reads it counts them.
    pub bytes_read: u64,
}

/// Reads sections.
struct Worker {
    records: SectionRecords,
    parser: LineParser,
    found: Records,
}

impl Worker {
    fn new(schema: &Arc<Schema>) -> io::Result<Self> {
        let records = SectionRecords::new(&schema.csv, schema.max_record_bytes)?;
        Ok(Self { records, parser: LineParser::new(Arc::clone(schema)), found: Records::default() })
    }

    /// Reads the section that begins at `start` of a window, as far as it is certain.
    fn read(&mut self, start: usize, bytes: &[u8], is_last: bool, how: How<'_>) -> io::Result<()> {
        self.found = Records::default();
        self.records.begin(bytes, 0, is_last);
        while let Some((place, record)) = self.records.next_record()? {
            parse(&mut self.parser, &mut self.found, start + place, &record, how);
        }
        Ok(())
    }

    /// Up to where the window was read, by the section that begins at `start`, and the lines before that.
    fn end(&self, start: usize) -> (usize, u64) {
        let (end, line) = self.records.rest();
        (start + end, line)
    }

    /// The record that begins at a place of the window.
    fn record_at(&self, place: usize) -> Option<usize> {
        self.found.records.binary_search_by_key(&place, |record| record.start).ok()
    }
}

/// How records are read, and what is kept of them.
#[derive(Clone, Copy)]
struct How<'a> {
    order: &'a Order,
    keeping: &'a Keeping,
}

fn parse(parser: &mut LineParser, found: &mut Records, start: usize, record: &FileRecord<'_>, how: How<'_>) {
    let outcome = match parser.parse_file_record(record, how.order, |line| found.keep(line, how.keeping)) {
        Ok(odd) => Outcome::Line { odd },
        Err(reasons) => Outcome::Bad(reasons),
    };
    found.records.push(Record { start, line: record.line, outcome });
}

/// A file that is read section by section.
pub(super) struct Sections<R> {
    windows: Windows<R>,
    cut: Cut,
    schema: Arc<Schema>,
    keeping: Keeping,
    workers: Vec<Worker>,
    /// What goes on where sections do not begin with a record.
    front: Worker,
    /// Up to where the window was read, and the line there.
    at: (usize, u64),
}

impl<R: Read> Sections<R> {
    /// Of the records of `source`.
    ///
    /// # Errors
    /// What reading the first bytes gives.
    pub(super) fn new(source: R, schema: &Arc<Schema>, keeping: Keeping, cut: Cut) -> io::Result<Self> {
        let mut windows = Windows::new(source, &schema.csv)?;
        windows.advance(0, cut.window_bytes())?;
        let workers = (0..cut.n_sections.max(1)).map(|_| Worker::new(schema)).collect::<io::Result<Vec<Worker>>>()?;
        let front = Worker::new(schema)?;
        Ok(Self { windows, cut, schema: Arc::clone(schema), keeping, workers, front, at: (0, 1) })
    }

    /// What `read` makes of the next record, before the others are read; `None` where there is none.
    ///
    /// # Errors
    /// What reading gives.
    pub(super) fn header<T>(&mut self, read: impl FnOnce(&FileRecord<'_>) -> T) -> io::Result<Option<T>> {
        let mut records = SectionRecords::new(&self.schema.csv, self.schema.max_record_bytes)?;
        loop {
            let has_ended = self.windows.has_ended();
            records.begin(&self.windows.bytes()[self.at.0..], self.at.1, has_ended);
            if let Some((_, record)) = records.next_record()? {
                let header = read(&record);
                let (end, line) = records.rest();
                self.at = (self.at.0 + end, line);
                return Ok(Some(header));
            }
            if has_ended {
                return Ok(None);
            }
            self.windows.advance(0, self.cut.window_bytes())?;
        }
    }

    /// Hands all records that are left to `take`, in order, whose columns are in this `order`. While it takes some, the next ones
    /// are read. `bytes_read` says how much of the file was.
    ///
    /// # Errors
    /// The first of `take`, or what `failed` makes of a failure to read, once all records before were taken.
    pub(super) fn each<E>(
        mut self,
        order: &Order,
        bytes_read: impl Fn() -> u64,
        failed: impl Fn(io::Error) -> E,
        mut take: impl FnMut(Part) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut ready = Vec::new();
        // The first window is there.
        let (mut before, mut more) = (0, 0);
        loop {
            let advanced = self.windows.advance(self.at.0, more);
            self.at.0 = 0;
            more = self.cut.window_bytes();
            let window = (before, bytes_read());
            before = window.1;
            let taken = std::mem::take(&mut ready);
            if let Err(failure) = advanced {
                taken.into_iter().try_for_each(&mut take)?;
                return Err(failed(failure));
            }
            let (starts, read, took) = self.read_beside(order, || taken.into_iter().try_for_each(&mut take));
            took?;
            read.map_err(&failed)?;
            ready = self.join(&starts, order, window).map_err(&failed)?;
            if self.windows.has_ended() {
                return ready.into_iter().try_for_each(&mut take);
            }
        }
    }

    /// Reads the sections of the window on all threads while this one does something else: where they begin, and what both
    /// came to.
    fn read_beside<T>(&mut self, order: &Order, beside: impl FnOnce() -> T) -> (Vec<usize>, io::Result<()>, T) {
        let (bytes, has_ended) = (self.windows.bytes(), self.windows.has_ended());
        let n_sections = (bytes.len() / self.cut.section_bytes.max(1)).clamp(1, self.workers.len());
        let starts = line_starts(bytes, n_sections);
        let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
        let sections: Vec<(usize, usize)> = starts.iter().copied().zip(ends).collect();
        let how = How { order, keeping: &self.keeping };
        let mut outcome = Ok(());
        let (workers, sections, read) = (&mut self.workers, &sections, &mut outcome);
        let beside = rayon::in_place_scope(move |scope| {
            scope.spawn(move |_| {
                let sections = workers.par_iter_mut().zip(sections.par_iter());
                *read = sections.try_for_each(|(worker, &(start, end))| {
                    worker.read(start, &bytes[start..end], has_ended && end == bytes.len(), how)
                });
            });
            beside()
        });
        (starts, outcome, beside)
    }

    /// The records of the window in order, as far as they are certain: those of each section from where it is right.
    /// `window` is how much of the file was read before and after it was.
    fn join(&mut self, starts: &[usize], order: &Order, window: (u64, u64)) -> io::Result<Vec<Part>> {
        let len = self.windows.bytes().len().max(1) as f64;
        let bytes_read = |end: usize| window.0 + (window.1.saturating_sub(window.0) as f64 * (end as f64 / len)) as u64;
        let mut parts = Vec::new();
        let mut section = 0;
        while let Some(&start) = starts.get(section) {
            let (place, line) = self.at;
            let worker = &mut self.workers[section];
            let from = if place == start { Some(0) } else { worker.record_at(place) };
            let Some(from) = from else {
                let (found, is_certain) = self.read_front(starts, &mut section, order)?;
                parts.push(Part { found, from: 0, first_line: 0, bytes_read: bytes_read(self.at.0) });
                if is_certain {
                    continue;
                }
                break;
            };
            let before = if place == start { 0 } else { worker.found.records[from].line };
            let (end, lines) = worker.end(start);
            let first_line = line - before;
            self.at = (end, first_line + lines);
            let found = std::mem::take(&mut worker.found);
            parts.push(Part { found, from, first_line, bytes_read: bytes_read(end) });
            section += 1;
        }
        Ok(parts)
    }

    /// Reads on from the front until a section, from `section` on, has a record where the next one begins; whether there is
    /// such a one before records are no longer certain.
    fn read_front(&mut self, starts: &[usize], section: &mut usize, order: &Order) -> io::Result<(Records, bool)> {
        let (from, line) = self.at;
        let how = How { order, keeping: &self.keeping };
        let Worker { records, parser, .. } = &mut self.front;
        let mut found = Records::default();
        records.begin(&self.windows.bytes()[from..], line, self.windows.has_ended());
        while let Some((place, record)) = records.next_record()? {
            let place = from + place;
            while starts.get(*section + 1).is_some_and(|next| *next <= place) {
                *section += 1;
            }
            if self.workers[*section].record_at(place).is_some() {
                self.at = (place, record.line);
                return Ok((found, true));
            }
            parse(parser, &mut found, place, &record, how);
        }
        let (end, line) = records.rest();
        self.at = (from + end, line);
        Ok((found, false))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::dialect::Dialect;
    use shared::pipeline::InputFormat;
    use shared::reason::Reason;
    use shared::records::FileRecords;
    use shared::schema::MessageShape;
    use shared::time::DatetimeFormats;

    use super::*;

    /// Line and outcome of a record: its values as they are shown, or why it is erroneous.
    type Seen = (u64, Result<Vec<String>, Vec<Reason>>);

    fn schema(comment: Option<u8>, max_record_bytes: usize) -> Arc<Schema> {
        Arc::new(Schema {
            format: InputFormat::Csv,
            columns: ["a", "b:int", "c:datetime"].iter().map(|column| column.parse().unwrap()).collect(),
            csv: Dialect { comment, ..Dialect::default() },
            json: MessageShape::default(),
            schemas: None,
            datetime_formats: DatetimeFormats::read(&["unix_s"], None).unwrap(),
            max_record_bytes,
            currency: None,
            key: None,
        })
    }

    fn one_by_one(bytes: &[u8], schema: &Arc<Schema>, has_header: bool) -> (Option<Vec<u8>>, Vec<Seen>) {
        let mut records = FileRecords::new(bytes, &schema.csv, schema.max_record_bytes).unwrap();
        let mut parser = LineParser::new(Arc::clone(schema));
        let mut header = None;
        if has_header {
            header = records.next_record().unwrap().map(|record| record.raw.to_vec());
        }
        let mut seen = Vec::new();
        while let Some(record) = records.next_record().unwrap() {
            let values = parser.parse_file_record(&record, &Order::Same, |line| {
                line.iter().map(|value| format!("{value:?}")).collect::<Vec<String>>()
            });
            seen.push((record.line, values));
        }
        (header, seen)
    }

    fn in_sections(bytes: &[u8], schema: &Arc<Schema>, has_header: bool, cut: Cut) -> (Option<Vec<u8>>, Vec<Seen>) {
        let keeping = Keeping { columns: (0..3).map(|column| (column, true)).collect(), now: 0 };
        let mut sections = Sections::new(bytes, schema, keeping, cut).unwrap();
        let mut header = None;
        if has_header {
            header = sections.header(|record| record.raw.to_vec()).unwrap();
        }
        let mut seen = Vec::new();
        let take = |part: Part| {
            let Part { found, from, first_line, .. } = part;
            let is_line = |record: &Record| matches!(record.outcome, Outcome::Line { .. });
            let mut index = found.records[..from].iter().filter(|record| is_line(record)).count();
            for record in &found.records[from..] {
                let outcome = match &record.outcome {
                    Outcome::Bad(reasons) => Err(reasons.clone()),
                    Outcome::Line { .. } => {
                        index += 1;
                        Ok(found.values(index - 1, 3).map(|value| format!("{value:?}")).collect())
                    }
                };
                seen.push((first_line + record.line, outcome));
            }
            Ok::<(), io::Error>(())
        };
        sections.each(&Order::Same, || 0, |failure| failure, take).unwrap();
        (header, seen)
    }

    /// Records of which some are erroneous, with line breaks in quotes and quotes that were forgotten; and any bytes.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            6 => (0u8..9, 0u32..9).prop_map(|(name, n)| format!("n{name},{n},{}\n", n * 100_000_000).into_bytes()),
            2 => (0u32..9).prop_map(|n| format!("\"two\nlines, {n}\",{n},5\r\n").into_bytes()),
            1 => Just(b"\"open,1,2\n".to_vec()),
            1 => Just(b"a,b\"\n".to_vec()),
            1 => Just(b"# a \"comment\n\n".to_vec()),
            1 => Just(b"a,1,2\r".to_vec()),
            1 => Just(b"\xEF\xBB\xBFx,1,2\n".to_vec()),
            1 => proptest::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), any::<u8>()], 1..20),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// For any bytes: the same records, with the same lines and values or reasons, in the same order.
        #[test]
        fn sections_give_what_one_reading_gives(
            bytes in text(), section_bytes in 1usize..120, n_sections in 1usize..6, most in prop_oneof![5usize..60, Just(1 << 20)],
            comment in prop_oneof![Just(None), Just(Some(b'#'))], has_header in any::<bool>(),
        ) {
            let schema = schema(comment, most);
            let cut = Cut { section_bytes, n_sections };
            prop_assert_eq!(in_sections(&bytes, &schema, has_header, cut), one_by_one(&bytes, &schema, has_header));
        }
    }

    /// Otherwise sections would be read twice.
    #[test]
    fn sections_of_plain_records_are_right_as_they_are() {
        let bytes: Vec<u8> = (0..20_000).flat_map(|n| format!("n{n},{n},1000\n").into_bytes()).collect();
        let keeping = Keeping { columns: vec![(0, true)], now: 0 };
        let cut = Cut { section_bytes: 4096, n_sections: 4 };
        let sections = Sections::new(&bytes[..], &schema(None, 1 << 20), keeping, cut).unwrap();
        let (mut n_parts, mut n_records) = (0, 0);
        let take = |part: Part| {
            assert!(part.first_line > 0, "nothing is read by the front alone");
            n_parts += 1;
            n_records += part.found.records.len() - part.from;
            Ok::<(), io::Error>(())
        };
        sections.each(&Order::Same, || 0, |failure| failure, take).unwrap();
        assert_eq!(n_records, 20_000);
        assert!(n_parts > 40, "{n_parts}");
    }

    #[test]
    fn what_stands_before_a_failure_is_taken_first() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let source = io::Cursor::new(b"n,1,1000\n".repeat(1000)).chain(Broken);
        let keeping = Keeping { columns: vec![(0, true)], now: 0 };
        let cut = Cut { section_bytes: 64, n_sections: 2 };
        let sections = Sections::new(source, &schema(None, 1 << 20), keeping, cut).unwrap();
        let mut n_records = 0;
        let take = |part: Part| {
            n_records += part.found.records.len() - part.from;
            Ok(())
        };
        assert_eq!(sections.each(&Order::Same, || 0, |failure| failure.to_string(), take), Err("broken".to_owned()));
        assert_eq!(n_records, 1000);
    }
}
