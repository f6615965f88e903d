//! One operation on the engine, and how eight bytes stand for one, so that a property test and a fuzzer share them.
//!
//! Any bytes are an operation: numbers are taken modulo what there is to choose from, and what names nothing at the
//! moment (an answer when no request is out) is passed over when it is played.

use surgetank_core::config::Protocol;
use surgetank_core::item::{Category, CategorySet, DropReason, Priority};
use surgetank_core::response::Failure;

/// An operation in eight bytes.
pub type Code = [u8; 8];

/// What is recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A ready-made envelope of one category.
    Envelope(Category),
    /// An envelope of several categories; the bits choose its items.
    Mixed(u8),
    /// A session as an item of its own.
    Session,
    /// A profile as an item of its own.
    Profile,
    Log,
    Metric,
    Span,
    OtlpSpan,
    OtlpLog,
    OtlpRequest,
    OtlpJson,
}

/// What a server answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<u64>,
    /// Seconds and what they limit; `None` for everything.
    pub(super) limits: Vec<(u64, Option<CategorySet>)>,
    /// Items of an OTLP request that are rejected.
    pub(super) rejected: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Op {
    Record {
        destination: u8,
        kind: Kind,
        bytes: usize,
        trace: u64,
        priority: Option<Priority>,
    },
    Poll,
    PollUntilIdle,
    Answer {
        request: u8,
        answer: Answer,
    },
    Fail {
        request: u8,
        failure: Failure,
    },
    /// An answer to a request that was settled before, or that never was.
    AnswerStale {
        request: u8,
    },
    Losses {
        destination: Option<u8>,
        category: Category,
        reason: DropReason,
        quantity: u64,
    },
    Flush,
    Close {
        within: u64,
    },
    /// Time passes, in microseconds.
    Pass(u64),
    /// Time passes up to the next deadline.
    PassToDeadline,
    /// A call with a time before the last one.
    StepBack(u64),
    Probe(Option<u16>),
    Open(Protocol),
}

const LIMITABLE: [Category; 12] = [
    Category::Error,
    Category::Transaction,
    Category::Span,
    Category::Session,
    Category::Monitor,
    Category::LogItem,
    Category::LogByte,
    Category::TraceMetric,
    Category::Attachment,
    Category::AttachmentItem,
    Category::Feedback,
    Category::Replay,
];

impl Op {
    pub(super) fn of(code: Code) -> Self {
        let [selector, a, b, c, d, e, f, g] = code;
        match selector {
            0..=99 => Self::Record {
                destination: a,
                kind: kind(b, c),
                bytes: size(d, e),
                trace: u64::from(f % 5),
                priority: if g < 230 {
                    None
                } else {
                    Priority::from_index(g % 5)
                },
            },
            100..=114 => Self::Poll,
            115..=154 => Self::PollUntilIdle,
            155..=184 => Self::Answer {
                request: a,
                answer: answer(b, [c, d, e, f, g]),
            },
            185..=198 => Self::Fail {
                request: a,
                failure: FAILURES[usize::from(b) % FAILURES.len()],
            },
            199..=201 => Self::AnswerStale { request: a },
            202..=206 => Self::Losses {
                destination: (a < 200).then_some(a),
                category: [Category::Error, Category::Transaction][usize::from(b % 2)],
                reason: [
                    DropReason::BeforeSend,
                    DropReason::QueueOverflow,
                    DropReason::ServerRateLimited,
                ][usize::from(c % 3)],
                quantity: u64::from(d),
            },
            207..=214 => Self::Flush,
            215 => Self::Close {
                within: u64::from(a) * 20_000,
            },
            216..=234 => Self::Pass(span(a, b)),
            235..=243 => Self::PassToDeadline,
            244..=245 => Self::StepBack(span(a, b)),
            246..=250 => Self::Probe((a < 220).then(|| u16::from(a) * 5)),
            251..=255 => Self::Open(if a < 170 { Protocol::Sentry } else { Protocol::Otlp }),
        }
    }
}

const FAILURES: [Failure; 10] = [
    Failure::Dns,
    Failure::Connect,
    Failure::Tls,
    Failure::Timeout,
    Failure::Disconnected,
    Failure::MalformedResponse,
    Failure::RequestTooLarge,
    Failure::InvalidRequest,
    Failure::ResponseTooLarge,
    Failure::Internal,
];

fn kind(which: u8, items: u8) -> Kind {
    match which % 20 {
        0 | 1 => Kind::Envelope(Category::Error),
        2 | 3 => Kind::Envelope(Category::Transaction),
        4 => Kind::Envelope(Category::Monitor),
        5 => Kind::Envelope(Category::Replay),
        6..=8 => Kind::Mixed(items),
        9 => Kind::Session,
        10 => Kind::Profile,
        11 | 12 => Kind::Log,
        13 => Kind::Metric,
        14 | 15 => Kind::Span,
        16 => Kind::OtlpSpan,
        17 => Kind::OtlpLog,
        18 => Kind::OtlpRequest,
        _ => Kind::OtlpJson,
    }
}

/// Payload bytes: mostly one or two blocks, sometimes many.
fn size(a: u8, b: u8) -> usize {
    match a {
        0..=149 => 16 + usize::from(b) / 2,
        150..=239 => 100 + usize::from(b) * 4,
        _ => 1_000 + usize::from(b) * 40,
    }
}

/// Microseconds: from one to a quarter of an hour.
fn span(a: u8, b: u8) -> u64 {
    let unit: u64 = match a % 8 {
        0 => 1,
        1 => 1_000,
        2..=4 => 50_000,
        5 => 500_000,
        6 => 1_000_000,
        _ => 4_000_000,
    };
    unit * u64::from(b)
}

fn answer(which: u8, detail: [u8; 5]) -> Answer {
    let [a, b, c, d, e] = detail;
    let status = match which {
        0..=99 => 200,
        100..=139 => 429,
        140..=189 => [502, 503, 504][usize::from(a % 3)],
        190..=209 => 500,
        210..=229 => 413,
        _ => [202, 301, 400, 401, 404, 408, 501, 505][usize::from(a % 8)],
    };
    let limit = |seconds: u8, choice: u8| {
        let categories = match choice {
            0..=19 => None,
            20..=200 => Some(CategorySet::of(LIMITABLE[usize::from(choice) % LIMITABLE.len()])),
            _ => Some(CategorySet::of(Category::Transaction).with(Category::Span)),
        };
        (u64::from(seconds % 90), categories)
    };
    let limits = match a {
        0..=119 => Vec::new(),
        120..=209 => vec![limit(b, c)],
        _ => vec![limit(b, c), limit(d, e)],
    };
    Answer {
        status,
        retry_after: (e >= 170).then_some(u64::from(e % 60)),
        limits,
        rejected: if d < 128 { 0 } else { u64::from(c) },
    }
}
