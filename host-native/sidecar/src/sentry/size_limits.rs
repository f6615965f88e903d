//! How large and how many items may be, as Relay has it (develop docs, "Envelopes", size limits).
//!
//! A server refuses a whole envelope for one offending item. Refusing it here tells the sender, who would otherwise get
//! a 200 for something that is lost later.

use surgetank_core::wire::envelope::{Item, ItemType};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Events and everything that becomes one, in sum.
const EVENTS: u64 = MIB;
/// Attachments, each and in sum.
const ATTACHMENTS: u64 = 200 * MIB;
const MOST_ATTACHMENTS: u32 = 30;
/// A container of logs, spans or metrics.
const CONTAINER: u64 = 12 * MIB;
/// One element of a container, on average.
const LOG: u64 = 2 * MIB;
const SPAN: u64 = 10 * MIB;
const TRACE_METRIC: u64 = MIB;
/// Spans that come without a container.
const MOST_SINGLE_SPANS: u32 = 25;
const PROFILE: u64 = 50 * MIB;
const REPLAY: u64 = 10 * MIB;
const CHECK_IN: u64 = 100 * KIB;
/// Sessions, in sum.
const SESSIONS: u64 = 10 * MIB;
const MOST_SESSIONS: u32 = 100;
/// Client reports, in sum.
const CLIENT_REPORTS: u64 = 100 * KIB;
const MOST_CLIENT_REPORTS: u32 = 100;
const METRIC_BUCKETS: u64 = MIB;

/// What an envelope's items add up to so far.
#[derive(Default)]
pub(super) struct Sizes {
    events: u64,
    attachments: u64,
    attachment_items: u32,
    log_containers: u32,
    span_containers: u32,
    metric_containers: u32,
    single_spans: u32,
    sessions: u64,
    session_items: u32,
    client_reports: u64,
    client_report_items: u32,
}

impl Sizes {
    /// Adds an item; false when it is too large or one too many.
    pub(super) fn admit(&mut self, item: &Item<'_>) -> bool {
        let bytes = item.payload.len() as u64;
        let elements = item.header.item_count;
        match item.header.item_type {
            ItemType::Event
            | ItemType::Transaction
            | ItemType::Feedback
            | ItemType::ReplayEvent
            | ItemType::Security
            | ItemType::RawSecurity
            | ItemType::FormData => add(&mut self.events, bytes) <= EVENTS,
            ItemType::Attachment | ItemType::UserReport | ItemType::UnrealReport => {
                self.attachment_items += 1;
                add(&mut self.attachments, bytes) <= ATTACHMENTS && self.attachment_items <= MOST_ATTACHMENTS
            }
            ItemType::Log => container(&mut self.log_containers, bytes, elements.unwrap_or(1), LOG),
            ItemType::TraceMetric => container(
                &mut self.metric_containers,
                bytes,
                elements.unwrap_or(1),
                TRACE_METRIC,
            ),
            ItemType::Span => match elements {
                Some(elements) => container(&mut self.span_containers, bytes, elements, SPAN),
                None => {
                    self.single_spans += 1;
                    bytes <= SPAN && self.single_spans <= MOST_SINGLE_SPANS
                }
            },
            ItemType::Profile | ItemType::ProfileChunk | ItemType::ProfileChunkUi => bytes <= PROFILE,
            ItemType::ReplayRecording | ItemType::ReplayVideo => bytes <= REPLAY,
            ItemType::CheckIn => bytes <= CHECK_IN,
            ItemType::Session | ItemType::Sessions => {
                self.session_items += 1;
                add(&mut self.sessions, bytes) <= SESSIONS && self.session_items <= MOST_SESSIONS
            }
            ItemType::ClientReport => {
                self.client_report_items += 1;
                add(&mut self.client_reports, bytes) <= CLIENT_REPORTS
                    && self.client_report_items <= MOST_CLIENT_REPORTS
            }
            ItemType::MetricBuckets => bytes <= METRIC_BUCKETS,
            // Passed on as it is; whoever knows the type knows its limit.
            ItemType::Unknown => true,
        }
    }
}

fn add(sum: &mut u64, bytes: u64) -> u64 {
    *sum = sum.saturating_add(bytes);
    *sum
}

/// At most one container of a kind, and its elements are judged by their average.
fn container(count: &mut u32, bytes: u64, elements: u32, element: u64) -> bool {
    *count += 1;
    *count <= 1 && bytes <= CONTAINER && bytes / u64::from(elements.max(1)) <= element
}

#[cfg(test)]
mod tests {
    use super::*;
    use surgetank_core::wire::envelope::items;

    /// Admits items of these headers and payload sizes; the number of those that pass before one does not.
    fn admitted(parts: &[(&str, usize)]) -> usize {
        let mut envelope = b"{}\n".to_vec();
        for (members, bytes) in parts {
            envelope.extend_from_slice(format!("{{\"length\":{bytes},{members}}}\n").as_bytes());
            envelope.resize(envelope.len() + bytes, b'x');
            envelope.push(b'\n');
        }
        let mut sizes = Sizes::default();
        items(&envelope)
            .unwrap()
            .1
            .take_while(|item| sizes.admit(item.as_ref().unwrap()))
            .count()
    }

    const MEGA: usize = MIB as usize;

    #[test]
    fn events_share_one_limit() {
        assert_eq!(admitted(&[("\"type\":\"event\"", MEGA)]), 1);
        assert_eq!(admitted(&[("\"type\":\"event\"", MEGA + 1)]), 0);
        assert_eq!(
            admitted(&[("\"type\":\"event\"", MEGA), ("\"type\":\"form_data\"", 1)]),
            1
        );
    }

    #[test]
    fn containers_are_judged_by_size_number_and_average() {
        let logs = "\"type\":\"log\",\"item_count\":10";
        assert_eq!(admitted(&[(logs, 12 * MEGA)]), 1);
        assert_eq!(admitted(&[(logs, 12 * MEGA + 1)]), 0);
        assert_eq!(admitted(&[(logs, 10), (logs, 10)]), 1);
        assert_eq!(admitted(&[("\"type\":\"log\",\"item_count\":1", 3 * MEGA)]), 0);
        assert_eq!(admitted(&[("\"type\":\"log\",\"item_count\":0", 10)]), 1);
        assert_eq!(admitted(&[("\"type\":\"span\"", 1); 26]), 25);
    }

    #[test]
    fn small_things_have_small_limits() {
        assert_eq!(
            admitted(&[
                ("\"type\":\"check_in\"", 100 * 1024),
                ("\"type\":\"check_in\"", 100 * 1024 + 1)
            ]),
            1
        );
        assert_eq!(admitted(&[("\"type\":\"client_report\"", 60 * 1024); 2]), 1);
        assert_eq!(admitted(&[("\"type\":\"session\"", 1); 101]), 100);
        assert_eq!(admitted(&[("\"type\":\"attachment\"", 1); 31]), 30);
        assert_eq!(admitted(&[("\"type\":\"replay_recording\"", 10 * MEGA + 1)]), 0);
        assert_eq!(
            admitted(&[
                ("\"type\":\"profile\"", 2 * MEGA),
                ("\"type\":\"later\"", 20 * MEGA)
            ]),
            2
        );
    }
}
