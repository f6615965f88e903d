use core::cell::Cell;
use core::time::Duration;

use surgetank_core::item::{Category, DestinationId, Form, Header, Outcome};
use surgetank_core::wire::otlp::protobuf::Out;

use crate::delivery::Delivery;
use crate::delivery::tests::{Behaviour, TestExporter, config, span, spec};
use crate::json::Encode;
use crate::sentry::NOTED_LOG;

const PATIENT: Duration = Duration::from_secs(60);

struct Plain<'a>(&'a [u8]);

impl Encode for Plain<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        out.raw(self.0);
    }
}

/// Records another record in the middle of being encoded, once, as a signal handler would.
struct Interrupted<'a> {
    delivery: &'a Delivery<TestExporter>,
    header: Header,
    inner: Cell<Option<Outcome>>,
}

impl Encode for Interrupted<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        out.raw(b"outer, begun;");
        if self.inner.get().is_none() {
            let inner = self
                .delivery
                .record_admitted(&self.header, &Plain(b"inner, whole;"));
            self.inner.set(Some(inner));
        }
        out.raw(b"outer, ended;");
    }
}

fn delivery(exporter: TestExporter) -> (Delivery<TestExporter>, DestinationId) {
    let (delivery, ids) = Delivery::new(config(), exporter, vec![spec()]).unwrap();
    (delivery, ids[0])
}

#[test]
fn a_record_in_the_middle_of_another_leaves_both_whole() {
    let exporter = TestExporter::new(Behaviour::Accept);
    let (delivery, id) = delivery(exporter.clone());
    let outer = Interrupted {
        delivery: &delivery,
        header: span(id),
        inner: Cell::new(None),
    };
    let outcome = delivery.record_admitted(&span(id), &outer);
    assert_eq!(
        (outcome, outer.inner.get()),
        (Outcome::Queued, Some(Outcome::Queued))
    );
    assert!(delivery.flush(PATIENT).complete);
    let sent = exporter.sent().concat();
    for whole in [&b"outer, begun;outer, ended;"[..], b"inner, whole;"] {
        let found = sent.windows(whole.len()).filter(|bytes| *bytes == whole);
        assert_eq!(found.count(), 1, "{}", String::from_utf8_lossy(&sent));
    }
}

#[test]
fn what_is_noted_as_a_log_and_is_none_is_counted_as_lost() {
    let (delivery, id) = delivery(TestExporter::new(Behaviour::Accept));
    let header = Header::new(id, Form::Element, Category::LogItem, 1)
        .also(Category::LogByte, 7)
        .from_origin(NOTED_LOG);
    let mut long = Vec::new();
    for length in [0, 1, 33, 5000] {
        long.resize(length, 0xFF);
        assert_eq!(delivery.record_admitted(&header, &Plain(&long)), Outcome::Queued);
    }
    let report = delivery.flush(PATIENT);
    assert!(report.complete);
    assert!(
        report.delivered().all(|(_, quantity)| quantity == 0),
        "{report:?}"
    );
    let status = delivery.status();
    for (category, quantity) in [(Category::LogItem, 4), (Category::LogByte, 28)] {
        let sums = status.totals.of(category);
        assert_eq!(
            (sums.recorded, sums.dropped),
            (quantity, quantity),
            "{category:?}"
        );
    }
}
