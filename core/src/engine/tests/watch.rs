//! The engine looks at its own health by its own deadlines: what changed since the last look is seen without more input.

use super::*;
use crate::health::Level;

/// Polls at each deadline until there is none. Deadlines must be few: an idle program is not to be woken for nothing.
fn rest(rig: &mut Rig) {
    for _ in 0..10 {
        let Some(deadline) = rig.deadline() else { return };
        rig.now = rig.now.max(deadline.at);
    }
    panic!("still a deadline: {:?}", rig.deadline());
}

#[test]
fn a_healed_stall_is_seen_by_an_idle_program() {
    let mut rig = Rig::sentry();
    assert_eq!(rig.error(), Outcome::Queued);
    assert_eq!(rig.sends().len(), 1);
    rig.pass(Duration::from_secs(40));
    let again = rig.sends();
    rig.pass(Duration::from_secs(2));
    let again = [again, rig.sends()].concat();
    assert_eq!(rig.engine.health().level, Level::Unhealthy);
    // The answer comes at once after a look.
    rig.pass(Duration::from_millis(1));
    let _ = rig.answer(again[0].0, 200);
    rest(&mut rig);
    assert_eq!(rig.engine.health().level, Level::Healthy);
}

#[test]
fn a_limit_is_seen_although_its_answer_came_right_after_a_look() {
    let mut rig = Rig::sentry();
    assert_eq!(rig.error(), Outcome::Queued);
    let sent = rig.sends();
    rig.pass(Duration::from_millis(20));
    let _ = rig.limit(sent[0].0, 200, b"60:error:key");
    let deadline = rig.deadline().expect("a look");
    assert!(deadline.at <= rig.now.saturating_add(Duration::from_millis(100)));
    rig.now = deadline.at;
    assert_eq!(
        rig.deadline().map(|deadline| deadline.reason),
        Some(DeadlineReason::LimitEnds)
    );
    assert_eq!(rig.engine.health().level, Level::Degraded);
    rest(&mut rig);
    assert_eq!(rig.engine.health().level, Level::Healthy);
}

#[test]
fn a_relay_whose_queue_was_drained_refuses_nothing_any_more() {
    let config = Config {
        when_full: WhenFull::RefuseNewest,
        ..Config::DEFAULT
    };
    let mut rig = Rig::new(config, DestinationConfig::OTLP);
    let header = Header::new(rig.to, Form::OtlpRequest, Category::Span, 1);
    // 85 % of the queue.
    for _ in 0..54 {
        assert_eq!(rig.record(header, b"\x0a\x00"), Outcome::Queued);
    }
    rig.pass(Duration::from_millis(100));
    let sent = rig.sends();
    assert_eq!(rig.engine.gate(rig.now, rig.to).pressure(), Some(Priority::Low));
    for (id, ..) in sent {
        let _ = rig.answer(id, 200);
    }
    for (id, ..) in rig.sends() {
        let _ = rig.answer(id, 200);
    }
    rest(&mut rig);
    assert_eq!(rig.engine.fill().used_blocks, 0);
    assert_eq!(rig.engine.gate(rig.now, rig.to).pressure(), None);
}
