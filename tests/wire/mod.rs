//! As much of OTLP's protobuf as the test of traces reads: names, ids, attributes. Written from the format's description, so that it
//! knows nothing of the library that writes it.

use std::collections::BTreeMap;
use std::ops::Index;

pub type Attributes = BTreeMap<String, String>;

/// What one request held.
#[derive(Debug)]
pub struct Batch {
    pub resource: Attributes,
    pub spans: Vec<Span>,
}

#[derive(Clone, Debug, Default)]
pub struct Span {
    pub trace_id: Vec<u8>,
    pub span_id: Vec<u8>,
    pub parent_id: Vec<u8>,
    pub name: String,
    pub attributes: Attributes,
}

impl Index<&str> for Span {
    type Output = String;

    fn index(&self, key: &str) -> &String {
        self.attributes.get(key).unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }
}

impl Batch {
    /// `ExportTraceServiceRequest`.
    pub fn read(message: &[u8]) -> Self {
        let (mut resource, mut spans) = (Attributes::new(), Vec::new());
        for resource_spans in messages(message, 1) {
            for about in messages(resource_spans, 1) {
                resource.extend(messages(about, 1).map(attribute));
            }
            for scope_spans in messages(resource_spans, 2) {
                spans.extend(messages(scope_spans, 2).map(span));
            }
        }
        Self { resource, spans }
    }
}

fn span(message: &[u8]) -> Span {
    let bytes = |number| messages(message, number).next().unwrap_or_default().to_vec();
    Span {
        trace_id: bytes(1),
        span_id: bytes(2),
        parent_id: bytes(4),
        name: String::from_utf8(bytes(5)).unwrap(),
        attributes: messages(message, 9).map(attribute).collect(),
    }
}

/// `KeyValue`; figures as they are written.
fn attribute(message: &[u8]) -> (String, String) {
    let key = messages(message, 1).next().unwrap();
    let value = messages(message, 2).next().unwrap();
    let value = fields(value)
        .find_map(|(number, field)| match (number, field) {
            (1, Field::Bytes(text)) => Some(String::from_utf8(text.to_vec()).unwrap()),
            (2 | 3, Field::Number(n)) => Some(n.to_string()),
            _ => None,
        })
        .unwrap_or_default();
    (String::from_utf8(key.to_vec()).unwrap(), value)
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn messages(message: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).filter_map(move |(number, field)| match field {
        Field::Bytes(bytes) if number == wanted => Some(bytes),
        Field::Bytes(_) | Field::Number(_) => None,
    })
}

/// The fields of a message with their numbers.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        let (&_, _) = rest.split_first()?;
        let tag = varint(&mut rest);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut rest)),
            1 => Field::Bytes(take(&mut rest, 8)),
            2 => {
                let length = usize::try_from(varint(&mut rest)).unwrap();
                Field::Bytes(take(&mut rest, length))
            }
            5 => Field::Bytes(take(&mut rest, 4)),
            other => panic!("wire type {other}"),
        };
        Some((tag >> 3, field))
    })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}
