//! Records whose headers are true: payloads as a client writes them, read back by the core for their counts.

use core::fmt::Write as _;

use surgetank_core::config::Protocol;
use surgetank_core::item::{Category, CategorySet, Count, DestinationId, Form, Header, Signal, TraceKey};
use surgetank_core::rng;
use surgetank_core::wire::envelope::{self, ItemType};
use surgetank_core::wire::otlp::count;
use surgetank_core::wire::otlp::encode::{AnyValue, Limits, LogRecord, Span};
use surgetank_core::wire::otlp::framing::{Frame, Records};
use surgetank_core::wire::otlp::protobuf::{Length, Out, Writer};
use surgetank_core::wire::trace_context::{SpanId, TraceId};

use super::script::{Kind, Payload, PayloadForm, Recording, Trace};
use crate::body::Bytes;

/// A record to be offered.
pub(super) struct Made {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
}

/// Record `number` of a scenario. The error says why there cannot be one like it.
pub(super) fn make(
    recording: &Recording,
    payloads: &[Payload],
    destination: DestinationId,
    protocol: Protocol,
    number: u64,
) -> Result<Made, String> {
    let trace = match recording.trace {
        Trace::None => None,
        Trace::Numbered(trace) => Some(trace),
        Trace::New => Some(rng::mix(number) | 1),
    };
    let maker = Maker {
        destination,
        trace,
        text: format!("{number:06}{}", "x".repeat(recording.fill)),
        items: recording.items,
    };
    let mut made = match (&recording.kind, protocol) {
        (Kind::Envelope(items), _) => maker.envelope(items)?,
        (Kind::Item(item), _) => maker.item(*item)?,
        (Kind::Log | Kind::Span | Kind::Metric, Protocol::Sentry) => maker.element(&recording.kind),
        (Kind::Log, Protocol::Otlp) => maker.otlp_record(Signal::Logs),
        (Kind::Span, Protocol::Otlp) => maker.otlp_record(Signal::Traces),
        (Kind::Metric, Protocol::Otlp) => maker.otlp_record(Signal::Metrics),
        (Kind::Request(signal), _) => maker.otlp_request(*signal)?,
        (Kind::Json(signal), _) => maker.otlp_json(*signal)?,
        (Kind::Recorded(at), _) => {
            let payload = payloads.get(*at).ok_or("there is no such payload")?;
            recorded(payload, destination)?
        }
    };
    if let Some(priority) = recording.priority {
        made.header.priority = priority;
    }
    Ok(made)
}

/// Everything that a record counts.
pub(super) fn counts(made: &Made) -> Vec<Count> {
    let mut counts = Vec::new();
    let payload = core::iter::once(made.payload.as_slice());
    if !made.header.is_mixed()
        || envelope::counts_of(payload, CategorySet::EMPTY, |count| counts.push(count)).is_err()
    {
        counts = vec![made.header.count];
        counts.extend(made.header.also);
    }
    counts
}

/// A record of what was sent, with the header that the sidecar gives it.
fn recorded(payload: &Payload, destination: DestinationId) -> Result<Made, String> {
    let bytes = payload.bytes.as_slice();
    let header = match payload.form {
        PayloadForm::Envelope => {
            let summary = envelope::describe(bytes).map_err(|error| error.to_string())?;
            let header = summary.record_header(destination);
            header.ok_or("the envelope has no item")?
        }
        PayloadForm::Request(signal) => {
            let contents = count::of_protobuf(signal, bytes).map_err(|error| error.to_string())?;
            otlp_header(destination, Form::OtlpRequest, signal, &contents)
        }
        PayloadForm::Json(signal) => {
            let contents = count::of_json(signal, bytes).map_err(|error| error.to_string())?;
            otlp_header(destination, Form::OtlpJson, signal, &contents)
        }
    };
    Ok(Made {
        header,
        payload: bytes.to_vec(),
    })
}

fn otlp_header(destination: DestinationId, form: Form, signal: Signal, contents: &count::Contents) -> Header {
    Header::new(destination, form, category_of(signal), contents.items)
}

struct Maker {
    destination: DestinationId,
    trace: Option<u64>,
    text: String,
    items: u32,
}

impl Maker {
    fn trace_id(&self) -> [u8; 16] {
        u128::from(self.trace.unwrap_or_default()).to_be_bytes()
    }

    fn trace_key(&self) -> TraceKey {
        TraceKey::of(&self.trace_id())
    }

    fn envelope(&self, items: &[ItemType]) -> Result<Made, String> {
        let mut text = String::from("{");
        if let Some(trace) = self.trace {
            let _ = write!(
                text,
                "\"trace\":{{\"trace_id\":\"{trace:032x}\",\"public_key\":\"key\"}}"
            );
        }
        text.push_str("}\n");
        for item in items {
            text.push_str(&self.item_text(*item));
            text.push('\n');
        }
        let payload = text.into_bytes();
        let summary = envelope::describe(&payload).map_err(|error| error.to_string())?;
        let header = summary.record_header(self.destination);
        let header = header.ok_or("the envelope has no item")?;
        Ok(Made { header, payload })
    }

    fn item(&self, item: ItemType) -> Result<Made, String> {
        let payload = self.item_text(item).into_bytes();
        let summary = envelope::describe_item(&payload).map_err(|error| error.to_string())?;
        Ok(Made {
            header: summary.record_header(self.destination),
            payload,
        })
    }

    fn item_text(&self, item: ItemType) -> String {
        let (text, name) = (&self.text, item.as_str());
        let list = |element: &str| vec![element; self.items as usize].join(",");
        let (more, body) = match item {
            ItemType::Transaction => {
                let spans = list("{}");
                (
                    String::new(),
                    format!("{{\"transaction\":\"{text}\",\"spans\":[{spans}]}}"),
                )
            }
            ItemType::Log | ItemType::TraceMetric | ItemType::Span => (
                format!(
                    ",\"item_count\":{},\"content_type\":\"application/vnd.sentry.items.{name}+json\"",
                    self.items
                ),
                format!("{{\"items\":[{}]}}", list(&format!("{{\"body\":\"{text}\"}}"))),
            ),
            ItemType::Attachment => (",\"filename\":\"a.txt\"".to_owned(), text.clone()),
            ItemType::ClientReport => (
                String::new(),
                format!(
                    "{{\"timestamp\":0,\"discarded_events\":[{{\"reason\":\"before_send\",\"category\":\"error\",\"quantity\":{}}}]}}",
                    self.items
                ),
            ),
            _ => (String::new(), format!("{{\"n\":\"{text}\"}}")),
        };
        format!("{{\"type\":\"{name}\",\"length\":{}{more}}}\n{body}", body.len())
    }

    /// An element of a Sentry container.
    fn element(&self, kind: &Kind) -> Made {
        let (category, second) = match kind {
            Kind::Span => (Category::Span, None),
            Kind::Metric => (Category::TraceMetric, Some(Category::TraceMetricByte)),
            _ => (Category::LogItem, Some(Category::LogByte)),
        };
        let trace = self
            .trace
            .map_or(String::new(), |trace| format!("\"trace_id\":\"{trace:032x}\","));
        let payload = format!("{{{trace}\"n\":\"{}\"}}", self.text).into_bytes();
        let mut header = Header::new(self.destination, Form::Element, category, 1).in_trace(self.trace_key());
        if let Some(second) = second {
            header = header.also(second, payload.len() as u32);
        }
        Made { header, payload }
    }

    fn otlp_record(&self, signal: Signal) -> Made {
        Made {
            header: Header::new(self.destination, Form::OtlpRecord, category_of(signal), 1)
                .in_trace(self.trace_key()),
            payload: self.otlp_message(signal),
        }
    }

    /// A `Span`, `LogRecord` or `Metric`.
    fn otlp_message(&self, signal: Signal) -> Vec<u8> {
        let limits = Limits::default();
        let trace_id = TraceId::new(self.trace_id());
        match signal {
            Signal::Traces => {
                let trace_id = trace_id.or_else(|| TraceId::new([1; 16]));
                let span = trace_id.zip(SpanId::new([1; 8]));
                let span = span.map(|(trace_id, span_id)| Span::new(trace_id, span_id, &self.text));
                let span = span.expect("the ids are not zero");
                written(span.encoded_len(&limits), |out| span.encode(out, &limits))
            }
            Signal::Logs => {
                let log = LogRecord {
                    body: AnyValue::String(&self.text),
                    trace_id,
                    ..LogRecord::default()
                };
                written(log.encoded_len(&limits), |out| log.encode(out, &limits))
            }
            Signal::Metrics => {
                let text = self.text.as_bytes();
                let length = Length::of(|out| encode_gauge(text, out));
                written(length, |out| encode_gauge(text, out))
            }
        }
    }

    fn otlp_request(&self, signal: Signal) -> Result<Made, String> {
        let message = self.otlp_message(signal);
        let mut records = Records::default();
        for _ in 0..self.items {
            records.add(message.len());
        }
        let request = Frame::default()
            .request(records)
            .map_err(|error| error.to_string())?;
        let mut payload = Bytes::default();
        let opened = request.write_opening(&mut payload);
        opened.map_err(|error| format!("{error:?}"))?;
        for _ in 0..self.items {
            let opened = request.write_record_opening(&mut payload, message.len());
            opened.map_err(|error| format!("{error:?}"))?;
            payload.0.extend_from_slice(&message);
        }
        let contents = count::of_protobuf(signal, &payload.0).map_err(|error| error.to_string())?;
        Ok(Made {
            header: otlp_header(self.destination, Form::OtlpRequest, signal, &contents),
            payload: payload.0,
        })
    }

    fn otlp_json(&self, signal: Signal) -> Result<Made, String> {
        let (outer, inner, list) = match signal {
            Signal::Traces => ("resourceSpans", "scopeSpans", "spans"),
            Signal::Logs => ("resourceLogs", "scopeLogs", "logRecords"),
            Signal::Metrics => ("resourceMetrics", "scopeMetrics", "metrics"),
        };
        let point = match signal {
            Signal::Metrics => ",\"gauge\":{\"dataPoints\":[{}]}",
            Signal::Traces | Signal::Logs => "",
        };
        let element = format!("{{\"name\":\"{}\"{point}}}", self.text);
        let elements = vec![element; self.items as usize].join(",");
        let payload = format!("{{\"{outer}\":[{{\"{inner}\":[{{\"{list}\":[{elements}]}}]}}]}}").into_bytes();
        let contents = count::of_json(signal, &payload).map_err(|error| error.to_string())?;
        Ok(Made {
            header: otlp_header(self.destination, Form::OtlpJson, signal, &contents),
            payload,
        })
    }
}

const fn category_of(signal: Signal) -> Category {
    match signal {
        Signal::Traces => Category::Span,
        Signal::Logs => Category::LogItem,
        Signal::Metrics => Category::TraceMetric,
    }
}

/// A `Metric` with a gauge of one data point.
fn encode_gauge<O: Out>(name: &[u8], out: &mut O) {
    out.bytes_field(1, name);
    out.bytes_field(5, &[0x0A, 0x00]);
}

fn written(length: usize, encode: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = vec![0; length];
    encode(&mut Writer::new(&mut bytes));
    bytes
}
