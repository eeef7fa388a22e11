//! Any format, any zone and any text: a date that is read is of a year that dates can be of, and reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use records::time::{DatetimeFormats, DatetimeParser, format_span, format_timestamp, parse_span};

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(3, '\n');
    let (format, zone, date) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let zone = (!zone.is_empty()).then_some(zone);
    for formats in [&[format][..], &["rfc3339", format, "unix_us"]] {
        let Ok(formats) = DatetimeFormats::read(formats, zone) else { continue };
        let mut parser = DatetimeParser::new(formats);
        let read = parser.parse(date);
        assert_eq!(read, parser.parse(date), "what was read before changes nothing");
        if let Some(moment) = read {
            let shown = format_timestamp(moment);
            let known = DatetimeFormats::read(&["rfc3339"], None).expect("the format is known");
            assert_eq!(DatetimeParser::new(known).parse(&shown), Some(moment), "{shown}");
        }
    }
    if let Some(span) = parse_span(date) {
        assert_eq!(parse_span(&format_span(span)), Some(span), "{date}");
    }
});
