//! `X-Sentry-Rate-Limits` and `Retry-After`: bounded, and the same after being written and read again.

use surgetank_core::limits::MAX_RATE_LIMIT_GROUPS;
use surgetank_core::response::Response;
use surgetank_core::time::{Duration, UnixTime};
use surgetank_core::wire::rate_limits;

use super::tape::Tape;

pub(super) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    let status = 100 + tape.short() % 500;
    let wall = UnixTime::from_secs(u64::from(u32::from_le_bytes(tape.array())));
    let retry_after = tape.flag().then(|| tape.bytes());
    let lines: Vec<&[u8]> = tape.rest().split(|byte| *byte == b'\n').collect();
    let response = Response {
        status,
        retry_after,
        rate_limits: &lines,
        wall,
        ..Response::default()
    };
    let mut count = 0;
    for limit in rate_limits::limits(&response) {
        count += 1;
        assert!(limit.is_effective() && limit.duration > Duration::ZERO);
    }
    assert!(count <= MAX_RATE_LIMIT_GROUPS);
    for group in rate_limits::groups(&lines) {
        written_and_read(&group);
    }
}

fn written_and_read(group: &rate_limits::Limit<'_>) {
    let text = group.to_string();
    let line: [&[u8]; 1] = [text.as_bytes()];
    let again: Vec<_> = rate_limits::groups(&line).collect();
    // A name that is no plain text is written escaped, a comma would end the group; neither is read back as it was.
    let plain = |bytes: &[u8]| {
        bytes
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !b"\\\"'".contains(byte))
    };
    if !group.namespaces.iter().all(plain) {
        return;
    }
    assert_eq!(again.len(), 1, "{text:?}");
    assert_eq!(again[0].target, group.target, "{text:?}");
    assert_eq!(again[0].scope, group.scope, "{text:?}");
    assert_eq!(again[0].reason, group.reason, "{text:?}");
    assert!(again[0].namespaces.iter().eq(group.namespaces.iter()), "{text:?}");
    assert_eq!(
        again[0].duration.as_secs(),
        group.duration.as_secs_ceil(),
        "{text:?}"
    );
}
