use super::*;
use crate::frame::FrameReader;
use std::vec;
use std::vec::Vec;

/// The content of the one frame in `line`.
fn content(line: &[u8]) -> Vec<u8> {
    let mut reader = FrameReader::<4096>::new();
    let mut frames = line
        .iter()
        .filter_map(|byte| reader.feed(*byte).map(<[u8]>::to_vec));
    let first = frames.next().expect("a frame");
    assert!(frames.next().is_none());
    first
}

#[track_caller]
fn same_up(message: &Up<'_>) {
    let mut buffer = [0; UP_LINE_BYTES];
    let content = content(message.write(&mut buffer).unwrap());
    assert_eq!(Up::read(&content), Some(*message));
}

#[track_caller]
fn same_down(message: &Down<'_>) {
    let mut buffer = [0; MIN_ROOM as usize];
    let content = content(message.write(&mut buffer).unwrap());
    assert_eq!(Down::read(&content), Some(*message));
}

const KINDS: [BodyKind; 7] = [
    BodyKind::Envelope,
    BodyKind::Protobuf(Signal::Traces),
    BodyKind::Protobuf(Signal::Logs),
    BodyKind::Protobuf(Signal::Metrics),
    BodyKind::Json(Signal::Traces),
    BodyKind::Json(Signal::Logs),
    BodyKind::Json(Signal::Metrics),
];

#[test]
fn what_a_device_says_comes_back() {
    same_up(&Up::Hello {
        version: VERSION,
        session: u64::MAX - 1,
        room: 512,
    });
    for (number, kind) in (0_u32..).zip(KINDS) {
        same_up(&Up::Data {
            transfer: number << 24,
            offset: number,
            kind,
            last: number % 2 == 0,
            bytes: &[0; MAX_DATA_BYTES],
        });
    }
    same_up(&Up::Ask { transfer: 7 });
    same_up(&Up::Done { transfer: 0 });
}

#[test]
fn what_a_gateway_says_comes_back() {
    same_down(&Down::Who { version: 1 });
    same_down(&Down::Welcome {
        session: 5,
        time: UnixTime::from_micros(1_767_323_045_678_901),
        window: 478,
        limit: 65_536,
    });
    for resume in [false, true] {
        same_down(&Down::Got {
            transfer: 1,
            received: 256,
            resume,
        });
    }
    for code in 1..=10 {
        same_down(&Down::Failed {
            transfer: 9,
            failure: failure(code).unwrap(),
        });
    }
    assert_eq!(failure(0), None);
    assert_eq!(failure(11), None);
    for refusal in [Refusal::Version, Refusal::Malformed, Refusal::Room] {
        same_down(&Down::Refused { refusal });
    }
    same_down(&Down::Answer {
        transfer: 3,
        answer: Answer {
            status: 429,
            retry_after: Some(b"60"),
            rate_limits: Some(b"60:error:key, 2700:log_item;attachment:organization"),
            content_type: Some(b"application/json"),
            body: b"{\"detail\":\"rate limit\"}",
        },
    });
    same_down(&Down::Answer {
        transfer: 4,
        answer: Answer {
            status: 200,
            ..Answer::default()
        },
    });
}

#[test]
fn a_long_answer_is_cut_where_that_does_no_harm() {
    let limits = vec![&b"60:error:key"[..]; 100].join(&b',');
    let answer = Answer {
        status: 429,
        retry_after: Some(b"3600"),
        rate_limits: Some(&limits),
        content_type: Some(&[b'x'; 65]),
        body: &[b'y'; 5000],
    };
    for room in [64, 100, 256, 257, 511, 512, 1000, 3000] {
        let mut buffer = vec![0; room];
        let message = Down::Answer { transfer: 1, answer };
        let content = content(message.write(&mut buffer).unwrap());
        let Some(Down::Answer { answer: read, .. }) = Down::read(&content) else {
            panic!("no answer in {room} bytes");
        };
        assert_eq!((read.status, read.retry_after), (429, answer.retry_after));
        assert_eq!(read.content_type, None, "too long to mean anything");
        let kept = read.rate_limits.unwrap_or_default();
        assert!(limits.starts_with(kept));
        assert!(
            kept.is_empty()
                || kept
                    .split(|byte| *byte == b',')
                    .all(|group| group == b"60:error:key"),
            "only whole groups in {room} bytes"
        );
        assert!(room < 1500 || kept.len() == limits.len());
        assert!(answer.body.starts_with(read.body));
    }
}

#[test]
fn no_bytes_are_too_strange_to_be_read() {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    for length in 0..200 {
        for kind in [1, 2, 3, 4, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0, 0xFF] {
            let mut content: Vec<u8> = (0..length).map(|_| next()).collect();
            if let Some(first) = content.first_mut() {
                *first = kind;
            }
            let _ = (Up::read(&content), Down::read(&content));
        }
    }
}

#[test]
fn what_a_later_version_appends_is_passed_over() {
    let ask = [3, 1, 0, 0, 0, 99, 98];
    assert_eq!(Up::read(&ask), Some(Up::Ask { transfer: 1 }));
    let got = [0x83, 1, 0, 0, 0, 2, 0, 0, 0, 0, 7];
    assert_eq!(
        Down::read(&got),
        Some(Down::Got {
            transfer: 1,
            received: 2,
            resume: false
        })
    );
}
